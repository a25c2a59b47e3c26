"""Likelihoods p(x|z), parametrised by a decoder's output."""
