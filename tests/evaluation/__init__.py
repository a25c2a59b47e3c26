"""Tests of the evaluators against exact answers."""
