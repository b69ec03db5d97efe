"""How Dagster stores what assets return, and its events. The plates' own outputs are the engine's."""
