"""Mutual information of data and code, over training and through the decoder."""
