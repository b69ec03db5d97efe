"""High-content screening plates: declare a pipeline, compile it to frozen contexts, execute it well by well."""
