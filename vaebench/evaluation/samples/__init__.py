"""Samples of images and sentences: figures, Markov chains, sample quality, text."""
