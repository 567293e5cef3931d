"""Sends the parcels."""
