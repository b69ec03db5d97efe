"""The laws of fingerprints: what makes a well another one. Each has a number, which manifests name."""
