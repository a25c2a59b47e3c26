"""Tests of vaebench.networks."""
