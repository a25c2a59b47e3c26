"""What training minimises: reductions of Terms."""
