"""Tells customers how their orders ended."""
