"""Faults between clients and a broker: a proxy that understands Kafka's frames."""

from ottla.testing.faults.faults import Faults
from ottla.testing.faults.rules import Fault

__all__ = ["Fault", "Faults"]
