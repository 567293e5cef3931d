"""When clients can be let loose on a broker that has just started."""

from __future__ import annotations

import time
from collections.abc import Callable

from ottla.errors import KafkaError

ANSWER_S = 5.0


def wait_until_told(bootstrap_servers: str, timeout_s: float, is_alive: Callable[[], bool]) -> bool:
    """Returns when clients are told of a broker.

    Apache Kafka says that it has started when its controller has let it in, some moments before it may have read so
    itself. Who asks meanwhile learns of a cluster without brokers, and librdkafka's clients then may never look for one
    again (`ottla.kafka.reach`).

    Args:
        bootstrap_servers: Where to ask.
        timeout_s: For how long.
        is_alive: Whether it is worth while.

    Returns:
        Whether it told of one.
    """
    from ottla.kafka.admin import Admin
    from ottla.settings import KafkaSettings

    settings = KafkaSettings(bootstrap_servers=bootstrap_servers)
    deadline = time.monotonic() + timeout_s
    while is_alive() and time.monotonic() < deadline:
        try:
            if Admin(settings, timeout_s=ANSWER_S).brokers():  # a new one each time: it must not be told of none
                return True
        except KafkaError:  # no answer, or half of one
            pass
        time.sleep(0.02)
    return False
