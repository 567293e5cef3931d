"""Health and metrics: what the core reports, in the forms that operators' tools read."""
