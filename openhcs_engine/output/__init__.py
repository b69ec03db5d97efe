"""A plate's output: staging, publishing, manifests, verification. No step runs here."""
