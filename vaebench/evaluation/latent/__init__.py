"""Properties of the latent code: active units, distances, Fisher-Shannon plane, probes, 2-D variance map."""
