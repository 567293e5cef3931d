"""Secures the customers' payments."""
