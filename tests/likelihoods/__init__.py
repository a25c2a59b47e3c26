"""Tests of vaebench.likelihoods."""
