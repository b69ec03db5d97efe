"""How the planes of a stack come into the steps of a well."""
