"""Thin programs around the package; run them as `python -m scripts.<name>`."""
