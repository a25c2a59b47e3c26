"""Priors p(z): modules that return a distribution, given the encoder."""
