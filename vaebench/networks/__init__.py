"""torch modules that know nothing of probability."""
