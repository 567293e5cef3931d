"""Runs topologies: membership and tasks, restoration, commits, queries."""
