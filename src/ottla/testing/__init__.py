"""Brokers and a schema registry for tests, each a process of its own, all with one interface.

    with EmbeddedBroker() as broker:            # or RealKafka()
        broker.bootstrap_servers                # "127.0.0.1:23456"
        broker.kill()                           # SIGKILL
        broker.start()                          # same port, same data

`ottla.testing.plugin` gives them to pytest as fixtures. `TopologyTestDriver` runs stream topologies without any,
`given(...).when(...).then(...)` aggregates.
`app_under_test` runs an app on them, and gives a `ServiceUnderTest`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla.testing.embedded_broker import EmbeddedBroker
from ottla.testing.embedded_registry import EmbeddedRegistry
from ottla.testing.kafka_home import KafkaHome
from ottla.testing.real_kafka import RealKafka
from ottla.testing.server import Broker, Server, free_port

if TYPE_CHECKING:
    from ottla.testing.aggregate_scenario import Outcome, Scenario, given
    from ottla.testing.faults import Fault, Faults
    from ottla.testing.harness import AppUnderTest, Namespace, ServiceUnderTest, SyncServiceUnderTest
    from ottla.testing.memory_registry import MemoryRegistry
    from ottla.testing.topology_driver import InputTopic, OutputTopic, TopologyTestDriver

__all__ = [
    "AppUnderTest",
    "Broker",
    "EmbeddedBroker",
    "EmbeddedRegistry",
    "Fault",
    "Faults",
    "InputTopic",
    "KafkaHome",
    "MemoryRegistry",
    "Namespace",
    "Outcome",
    "OutputTopic",
    "RealKafka",
    "Scenario",
    "Server",
    "ServiceUnderTest",
    "SyncServiceUnderTest",
    "TopologyTestDriver",
    "free_port",
    "given",
]

# The plugin is loaded in every test session: what needs more than the standard library comes when it is used.
_LAZY = {
    "AppUnderTest": "harness",
    "Fault": "faults",
    "Faults": "faults",
    "InputTopic": "topology_driver",
    "MemoryRegistry": "memory_registry",
    "Namespace": "harness",
    "Outcome": "aggregate_scenario",
    "OutputTopic": "topology_driver",
    "Scenario": "aggregate_scenario",
    "ServiceUnderTest": "harness",
    "SyncServiceUnderTest": "harness",
    "TopologyTestDriver": "topology_driver",
    "given": "aggregate_scenario",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
