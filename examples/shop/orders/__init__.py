"""Takes orders over HTTP, publishes them, and shows how they stand."""
