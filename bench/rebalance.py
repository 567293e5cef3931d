"""How long 64 members take to share 128 partitions, and to go on when one leaves: `python -m bench.rebalance`.

Members are librdkafka's (confluent-kafka), all in this process, so that most of the time is theirs; the broker's own
part is the CPU time it used. Prints one JSON line per broker and protocol.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from ottla.testing import Broker, EmbeddedBroker, RealKafka

MEMBERS, PARTITIONS = 64, 128
HEARTBEAT_MS = 200
CLASSIC = {"heartbeat.interval.ms": HEARTBEAT_MS, "session.timeout.ms": 30_000}
KINDS: dict[str, dict[str, Any]] = {
    "classic, eager": {"partition.assignment.strategy": "range", **CLASSIC},
    "classic, cooperative": {"partition.assignment.strategy": "cooperative-sticky", **CLASSIC},
    "consumer (KIP-848)": {"group.protocol": "consumer"},
}
PATIENCE_S = 180.0


def cpu_seconds(broker: Broker) -> float:
    """What the broker's process has used so far."""
    fields = Path(f"/proc/{broker.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def settle(members: list[Consumer]) -> float:
    """Polls until all partitions are shared evenly; gives the seconds it took."""
    started = time.monotonic()
    while True:
        for member in members:
            member.poll(0)
        shares = [len(member.assignment()) for member in members]
        if sum(shares) == PARTITIONS and max(shares) - min(shares) <= 1:
            return time.monotonic() - started
        if time.monotonic() - started > PATIENCE_S:
            raise SystemExit(f"not settled within {PATIENCE_S:g} s: {shares}")
        time.sleep(0.005)


def measure(broker: Broker, config: dict[str, Any]) -> dict[str, float]:
    topic, group = f"t-{uuid.uuid4().hex[:8]}", f"g-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    time.sleep(1.0)
    common = {"bootstrap.servers": broker.bootstrap_servers, "group.id": group, "enable.auto.commit": False}
    members = [Consumer({**common, **config}) for _ in range(MEMBERS)]
    used = cpu_seconds(broker)
    for member in members:
        member.subscribe([topic])
    joined = settle(members)
    joining_cpu = cpu_seconds(broker) - used
    used = cpu_seconds(broker)
    members.pop().close()
    left = settle(members)
    leaving_cpu = cpu_seconds(broker) - used
    for member in members:
        member.unsubscribe()
    for member in members:
        member.close()
    return {
        "join_s": round(joined, 2),
        "join_broker_cpu_s": round(joining_cpu, 2),
        "leave_s": round(left, 2),
        "leave_broker_cpu_s": round(leaving_cpu, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="measure Apache Kafka, too")
    given = parser.parse_args()
    options: dict[str, Any] = {"group_consumer_heartbeat_interval_ms": HEARTBEAT_MS, "auto_create_topics": False}
    brokers: list[Broker] = [EmbeddedBroker(options=options)]
    if given.kafka:
        brokers.append(RealKafka())
    for broker in brokers:
        with broker:
            for kind, config in KINDS.items():
                print(json.dumps({"broker": broker.name, "protocol": kind, **measure(broker, config)}), flush=True)


if __name__ == "__main__":
    main()
