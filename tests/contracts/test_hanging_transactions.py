"""Contract: a transaction that hangs (KIP-664), found and aborted with Kafka's own tool.

It is open in a partition, and its coordinator does not know of it: no timeout ends it, and whoever reads what is
committed stops before it. Nobody can make one where a batch is checked against the coordinator's transactions. Apache
Kafka lets that be switched off (transaction.partition.verification.enable); here the check is taken out of the embedded
broker's code for the same effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ottla.broker.api import produce as produce_api
from ottla.errors import ServerFailed
from ottla.testing import Broker, KafkaHome, RealKafka
from tests.broker.running import RunningBroker
from tests.conftest import IN_CI, _start
from tests.contracts.asking import Asking
from tests.contracts.clients import HOUR_AGO_MS, create_topic, produce, read_partition, values
from tests.contracts.raw_log import committed_values
from tests.contracts.transactor import INVALID_TXN_STATE, NONE, Transactor, fetch
from tests.faults.test_transaction_power_cuts import address_of

TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand"
ABORTABLE = 120
Tool = Callable[..., list[list[str]]]
Leave = Callable[[Transactor, str], None]


@pytest.fixture(scope="module")
def unverifying(
    request: pytest.FixtureRequest, broker_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A broker of each kind that takes every transactional batch, whether or not there is a transaction."""
    if broker_kind == "embedded":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(produce_api, "admit", lambda *_: None)
            with RunningBroker(tmp_path_factory.mktemp("unverifying") / "data") as running:
                yield address_of(running)
        return
    off = {"transaction.partition.verification.enable": "false"}
    server = _start(request.config, lambda: RealKafka(properties=off))
    yield server
    server.close()


@pytest.fixture
def asking(unverifying: Any) -> Iterator[Asking]:
    with Asking(unverifying) as opened:
        yield opened


@pytest.fixture
def place(unverifying: Any, topic_name: str) -> str:
    """A new topic with one partition."""
    return create_topic(unverifying, topic_name)


@pytest.fixture
def tool(unverifying: Any) -> Tool:
    """Runs `kafka-transactions`; gives the words of the lines it prints."""
    try:
        home = KafkaHome.find()
    except ServerFailed as missing:
        (pytest.fail if IN_CI else pytest.skip)(str(missing))

    def run(*arguments: str) -> list[list[str]]:
        done = home.run(TRANSACTIONS, "--bootstrap-server", unverifying.bootstrap_servers, *arguments, timeout_s=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line.split() for line in done.stdout.splitlines() if line.strip()]

    return run


def never_begun(one: Transactor, topic: str) -> None:
    """The coordinator has given the producer its id, and heard nothing since."""


def committed_before(one: Transactor, topic: str) -> None:
    """A batch that comes after the end of its transaction."""
    assert one.add(topic, 0) == [NONE]
    assert one.produce(topic, [b"whole"])[0] == NONE
    one.finish(commit=True)


WAYS = [
    pytest.param(never_begun, "Empty", id="never-begun"),
    pytest.param(committed_before, "CompleteCommit", id="late"),
]


@pytest.mark.parametrize(("before", "state"), WAYS)
def test_a_hanging_transaction_is_found_and_aborted_with_kafkas_tool(
    unverifying: Any, asking: Asking, place: str, tool: Tool, before: Leave, state: str
) -> None:
    one = Transactor(asking, f"x-{place}").begin(timeout_ms=300)
    before(one, place)
    start = fetch(asking, place).high_watermark
    error, offset = one.produce(place, [b"hangs"], timestamp_ms=HOUR_AGO_MS)
    assert (error, offset) == (NONE, start)
    produce(unverifying, place, [b"behind"])

    # The timeout of a transaction that began later is up, and has not ended this one.
    known = Transactor(asking, f"y-{place}").begin(timeout_ms=300)
    assert known.add(place, 0) == [NONE]
    known.wait_for("CompleteAbort")
    assert one.describe()["transaction_state"] == state
    (written,) = [
        line
        for line in tool("describe-producers", "--topic", place, "--partition", "0")
        if line[0] == str(one.producer_id)
    ]
    assert written[-1] == str(start)
    assert fetch(asking, place).last_stable_offset == start

    for where in (("--broker-id", "1"), ("--topic", place)):
        (found,) = [line for line in tool("find-hanging", *where) if place in line]
        assert found[:3] == [place, "0", str(one.producer_id)]
    tool("abort", "--topic", place, "--partition", "0", "--start-offset", str(start))

    after = fetch(asking, place)
    assert after.last_stable_offset == after.high_watermark
    assert (one.producer_id, start) in (after.aborted or [])
    whole = [b"whole"] if start else []
    assert values(read_partition(unverifying, place, len(whole) + 1)) == [*whole, b"behind"]
    assert committed_values(asking, place, 0) == [*whole, b"behind"]
    assert not [line for line in tool("find-hanging", "--topic", place) if place in line]

    # Its producer goes on with the next transaction.
    again = Transactor(asking, one.id).begin()
    assert again.add(place, 0) == [NONE]
    assert again.produce(place, [b"next"])[0] == NONE
    again.finish(commit=True)
    assert committed_values(asking, place, 0) == [*whole, b"behind", b"next"]


@pytest.mark.parametrize(("before", "_"), WAYS)
@pytest.mark.parametrize(("version", "code"), [(9, INVALID_TXN_STATE), (11, ABORTABLE)])
def test_what_would_hang_is_refused_where_batches_are_checked(
    broker: Broker, topic: str, before: Leave, _: str, version: int, code: int
) -> None:
    with Asking(broker) as asking:
        one = Transactor(asking, f"x-{topic}").begin()
        before(one, topic)
        assert one.produce(topic, [b"hangs"], version=version)[0] == code
        after = fetch(asking, topic)
        assert after.last_stable_offset == after.high_watermark
