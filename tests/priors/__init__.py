"""Tests of vaebench.priors."""
