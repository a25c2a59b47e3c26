"""Execution of a run: run directory, training loop, checkpoints, stored results."""
