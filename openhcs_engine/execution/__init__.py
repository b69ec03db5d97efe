"""Running frozen contexts: a well, its steps, and the runners that share wells over workers."""
