"""Stateful stream processing: Kafka Streams' concepts in Python.

The public names; they load when they are first used.
"""
