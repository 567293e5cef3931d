"""Contract: fetch sessions, which a broker may have or not: asked for, always answered in full; unknown, refused."""

from __future__ import annotations

import pytest

from ottla.broker.wire.messages.fetch import FETCH
from ottla.broker.wire.schema import Message
from ottla.testing import Broker
from tests.contracts.asking import Asking
from tests.contracts.clients import produce

NONE, FETCH_SESSION_ID_NOT_FOUND = 0, 70
FULL, FINAL = 0, -1
UNKNOWN_SESSION = 12345


def fetch(asking: Asking, topic: str, session_id: int, session_epoch: int, version: int = 11) -> Message:
    part = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 20}
    return asking.ask(
        FETCH, version, max_wait_ms=0, min_bytes=0, session_id=session_id, session_epoch=session_epoch,
        topics=[{"topic": topic, "partitions": [part]}], forgotten_topics_data=[], rack_id="",
    )  # fmt: skip


@pytest.mark.parametrize("version", [7, 11, 12])
@pytest.mark.parametrize("epoch", [FULL, FINAL])
def test_a_fetch_with_and_without_the_wish_for_a_session_gets_all_it_asks_for(
    broker: Broker, topic: str, epoch: int, version: int
) -> None:
    produce(broker, topic, [b"a"])
    with Asking(broker) as asking:
        for _ in range(2):
            answer = fetch(asking, topic, 0, epoch, version)
            assert answer["error_code"] == NONE
            (part,) = answer["responses"][0]["partitions"]
            assert (part["error_code"], part["high_watermark"], bool(part["records"])) == (NONE, 1, True)
            assert epoch == FULL or answer["session_id"] == 0


@pytest.mark.parametrize("version", [7, 11, 12])
def test_a_session_that_the_broker_does_not_know_is_refused(broker: Broker, topic: str, version: int) -> None:
    with Asking(broker) as asking:
        answer = fetch(asking, topic, UNKNOWN_SESSION, 1, version)
        assert (answer["error_code"], answer["session_id"], answer["responses"]) == (FETCH_SESSION_ID_NOT_FOUND, 0, [])
        assert fetch(asking, topic, 0, FINAL, version)["error_code"] == NONE
