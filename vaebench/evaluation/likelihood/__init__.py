"""Bounds and estimates of log p(x), and what inference loses of them."""
