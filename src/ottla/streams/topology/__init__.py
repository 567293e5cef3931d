"""What a stream application does, as data: operators, stores, topics, and how they hang together."""
