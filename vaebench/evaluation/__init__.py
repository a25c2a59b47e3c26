"""Evaluators of a trained model, in five folders; `base` has their interface."""
