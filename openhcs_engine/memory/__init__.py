"""Array libraries and devices."""
