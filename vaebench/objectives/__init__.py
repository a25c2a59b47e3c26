"""Training objectives: reductions of Terms to a loss."""
