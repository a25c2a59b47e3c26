"""q(z|x): modules that make a distribution from the encoder's features."""
