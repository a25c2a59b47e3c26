"""Mutual information of x and z: its bounds, its course over training, and how much decoder layers keep of
it."""
