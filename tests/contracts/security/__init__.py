"""Contracts of a secured broker: who gets in, who may do what, and how much of it."""
