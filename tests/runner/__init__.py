"""Tests of vaebench.runner."""
