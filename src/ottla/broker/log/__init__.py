"""The log: segments of opaque record batches, their recovery and retention, and the thread that makes them durable."""
