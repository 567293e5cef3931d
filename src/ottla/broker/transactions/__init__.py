"""Transactions: the coordinator that gives out producer epochs and decides, and the markers that make it known."""
