"""Dead letters, and how they come back: list, select, replay, edit, purge."""
