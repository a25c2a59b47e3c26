"""Posteriors q(z|x): modules that map the encoder's features to a distribution."""
