"""Event-sourced aggregates: commands in, events out, state by replay. A stream topology does the work."""
