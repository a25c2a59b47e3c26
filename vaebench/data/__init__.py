"""Datasets: classes with a `spec`, available before the data are read, and a method `load()`."""
