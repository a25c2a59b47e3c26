"""Datasets: each a class with a `spec`, known before anything is read, and a `load()`."""
