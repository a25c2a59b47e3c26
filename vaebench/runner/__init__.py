"""From a config to a filed result: run directory, training loop, checkpoints, records."""
