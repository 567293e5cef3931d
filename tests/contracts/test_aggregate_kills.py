"""Instances that are killed while they decide: each command has its events once, also where it is sent again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from ottla import RegistryClient
from ottla.events import read_envelope
from ottla.eventsourcing.app import AggregateApp
from ottla.kafka.producer import Producer
from ottla.kafka.reader import read_topic
from ottla.serde import Serializer
from tests.eventsourcing.accounts import accounts
from tests.eventsourcing.process import settings_for
from tests.listeners.harness import World, eventually

KILLS = int(os.environ.get("OTTLA_AGGREGATE_KILLS", "1"))
ACCOUNTS = 10
PAYMENTS = 400
"""Between two kills."""

PATIENCE_S = 60.0


async def test_each_command_has_its_events_once_whatever_is_killed(
    world: World, topic_name: str, tmp_path: Path
) -> None:
    of = accounts(topic_name)
    settings = settings_for(world.broker.bootstrap_servers, world.registry.url, str(tmp_path / "state"))
    commands = f"{topic_name}-commands"
    world.admin.ensure_topics({commands: 3})
    serializer = Serializer(RegistryClient(world.registry.url))
    sent: dict[str, tuple[str, int]] = {}

    def send(messages: dict[str, Any]) -> None:
        """Everything twice: as whoever had no answer does."""
        producer = Producer(settings.kafka)
        for _ in range(2):
            for identity, command in messages.items():
                value = serializer.encode(command, commands)
                producer.send(commands, value, key=command.account.encode(), headers=[("ce_id", identity.encode())])
        assert producer.close(PATIENCE_S) == 0

    def decided() -> list[Any]:
        return list(read_topic(settings.kafka, topic_name)) if topic_name in world.admin.topics() else []

    def more_than(count: int) -> bool:
        return len(decided()) > count

    def instance() -> subprocess.Popen[bytes]:
        arguments = [world.broker.bootstrap_servers, world.registry.url, str(tmp_path / "state")]
        log = (tmp_path / "instance.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-m", "tests.eventsourcing.process", topic_name, *arguments], stdout=log, stderr=log
        )

    send({f"open-{number}": of.Open(f"a{number}") for number in range(ACCOUNTS)})
    for kill in range(KILLS):
        running = instance()
        payments = {f"pay-{kill}-{number}": of.Pay(f"a{number % ACCOUNTS}", 20 + number) for number in range(PAYMENTS)}
        sent |= {identity: (command.account, command.amount) for identity, command in payments.items()}
        before = len(decided())
        first = dict(list(payments.items())[: PAYMENTS // 2])
        await asyncio.to_thread(send, first)
        await eventually(partial(more_than, before), within_s=PATIENCE_S)
        await asyncio.to_thread(send, dict(list(payments.items())[PAYMENTS // 2 :]))
        running.kill()
        running.wait()

    app = AggregateApp(f"{topic_name}-app", of.aggregate, settings=settings)
    async with app.running():
        wanted = ACCOUNTS + len(sent)
        await eventually(lambda: len(decided()) >= wanted, within_s=2 * PATIENCE_S, what="all events")
        events = decided()
        # By the events alone, in the order of their partitions.
        causes = Counter(envelope.causation_id for one in events if (envelope := read_envelope(one.headers)))
        assert set(causes.values()) == {1}
        assert set(causes) == {*sent, *(f"open-{number}" for number in range(ACCOUNTS))}
        versions: dict[str, list[int]] = defaultdict(list)
        for one in sorted(events, key=lambda one: (one.partition, one.offset)):
            versions[(one.key or b"").decode()].append(int(dict(one.headers)["ottla-version"] or b"0"))
        assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
        balances: Counter[str] = Counter()
        for account, amount in sent.values():
            balances[account] += amount
        for account, balance in balances.items():
            there = await app.get(of.aggregate, account, at_least=len(versions[account]), timeout_s=PATIENCE_S)
            assert there is not None
            assert there.state is not None
            assert (there.version, there.state.balance) == (len(versions[account]), balance)
            history = await app.history(of.aggregate, account, timeout_s=PATIENCE_S)
            assert of.aggregate.replay(happened.event for happened in history) == there.state
