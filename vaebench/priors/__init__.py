"""p(z): modules that make a distribution, given the encoder."""
