"""How Dagster stores what assets return, and its events. A plate's own output is not stored here."""
