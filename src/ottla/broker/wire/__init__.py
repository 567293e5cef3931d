"""The wire: Kafka's message tables, and the codec compiled from them on first use."""
