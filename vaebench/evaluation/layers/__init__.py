"""Per-layer measures: Fisher information of the weights, pictures of the activations."""
