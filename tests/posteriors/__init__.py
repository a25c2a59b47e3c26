"""Tests of vaebench.posteriors."""
