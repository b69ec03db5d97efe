"""Whether an output is as it was written, and what is done about it. Nothing is computed again here."""
