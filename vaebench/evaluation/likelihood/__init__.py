"""Bounds and estimates of log p(x), and the loss due to approximate inference."""
