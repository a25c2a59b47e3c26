"""Mutual information of x and z: bounds, its course over training, its propagation through decoder layers."""
