"""The code itself: active units, distances, Fisher-Shannon plane, probes, the map of its plane."""
