"""Brokers and a schema registry for tests, each a process of its own, all with one interface.

    with EmbeddedBroker() as broker:            # or RealKafka()
        broker.bootstrap_servers                # "127.0.0.1:23456"
        broker.kill()                           # SIGKILL
        broker.start()                          # same port, same data

`ottla.testing.plugin` gives them to pytest as fixtures.
"""

from ottla.testing.embedded_broker import EmbeddedBroker
from ottla.testing.embedded_registry import EmbeddedRegistry
from ottla.testing.kafka_home import KafkaHome
from ottla.testing.real_kafka import RealKafka
from ottla.testing.server import Broker, Server, free_port

__all__ = ["Broker", "EmbeddedBroker", "EmbeddedRegistry", "KafkaHome", "RealKafka", "Server", "free_port"]
