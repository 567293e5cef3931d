"""Workloads, measured: `python -m bench NAME [--json] [--runs N] [--save]`."""
