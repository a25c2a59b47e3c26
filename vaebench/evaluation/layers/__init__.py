"""Measures of each layer: Fisher information of the weights, t-SNE of the activations."""
