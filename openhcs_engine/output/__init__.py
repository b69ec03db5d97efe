"""A plate's output folder: staging, publishing, manifests, verification."""
