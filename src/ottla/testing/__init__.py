"""Brokers and a schema registry for tests."""
