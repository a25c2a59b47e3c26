"""Tests of vaebench.config."""
