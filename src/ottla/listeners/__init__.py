"""Handlers, and the runner that feeds them: at least once, in order per partition, nothing lost in silence."""
