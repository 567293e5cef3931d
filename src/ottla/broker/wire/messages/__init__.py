"""One table per API."""
