"""What goes into a transaction, and what is kept to do it again; with a stand-in for the producer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, cast

import pytest

from ottla.errors import BrokerUnavailable, KafkaError, ProducerFenced, PublishError, TransactionAborted
from ottla.kafka.record import Message
from ottla.listeners.exactly_once import ExactlyOnce, feed
from ottla.listeners.offsets import OffsetTracker
from ottla.listeners.outputs import Outgoing
from ottla.listeners.transaction import OpenTransaction

ORDERS = ("orders", 0)


class Ignored:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


class Log:
    """The transactional producer, as far as it matters: what is open, and what is committed."""

    def __init__(self) -> None:
        self.open: list[str] = []
        self.committed: list[str] = []
        self.positions: dict[tuple[str, int], int] = {}
        self.fail: KafkaError | None = None
        self.refuse: set[str] = set()
        self.failed = False
        self.fenced: ProducerFenced | None = None
        self.must_abort = False

    def begin(self) -> None:
        self.open, self._offsets = [], {}

    def send(self, topic: str, value: bytes, **_: Any) -> None:
        if self.failed:
            raise KafkaError("erroneous state")
        if self.fenced is not None:
            raise self.fenced
        if value.decode() in self.refuse:
            raise PublishError("too large")
        self.open.append(value.decode())

    def send_offsets(self, offsets: list[Any], group: Any) -> None:
        self._offsets = {(one.topic, one.partition): one.offset for one in offsets}

    def commit(self) -> None:
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        self.committed += self.open
        self.positions |= self._offsets

    def abort(self) -> None:
        self.open = []

    def close(self) -> None: ...


@dataclass
class Record:
    number: int

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self.number


class Worker:
    """A partition whose records are handled when the test says so."""

    def __init__(self) -> None:
        self.tracker = OffsetTracker()
        self.paused = False
        self.fed: list[int] = []
        self.stopped = False

    def start(self) -> None: ...

    def feed(self, messages: list[Message]) -> None:
        self.fed += [one.offset() for one in messages]

    def stop(self) -> None:
        self.stopped = True

    def wait_stopped(self, timeout_s: float) -> bool:
        return True

    def cancel(self) -> None: ...


class Stage:
    def __init__(self) -> None:
        self.log = Log()
        self.unreadable = False
        self.transaction = OpenTransaction(lambda: cast(Any, self.log), cast(Any, Ignored()))
        self.exactly_once = ExactlyOnce(
            self.transaction,
            conditions=cast(Any, Ignored()),
            log=logging.getLogger("test"),
            interval_s=0.0,
            records_max=10,
            drain_s=0.0,
        )
        self.exactly_once.consumer = self
        self.workers: dict[Any, Any] = {ORDERS: Worker()}
        self.exactly_once.open()
        self.exactly_once.assigned(ORDERS)

    @property
    def worker(self) -> Any:
        return self.workers[ORDERS]

    def consumer_group_metadata(self) -> Any:
        return None

    def committed(self, places: list[Any], timeout: float) -> list[Any]:
        for one in places:
            if self.unreadable:
                self.unreadable = False
                raise RuntimeError("no answer")
            one.offset = self.log.positions.get((one.topic, one.partition), -1001)
        return places

    def receive(self, *numbers: int) -> None:
        messages = [cast(Message, Record(number)) for number in numbers]
        self.exactly_once.received(ORDERS, messages)
        feed(self.worker, messages)

    def handle(self, *numbers: int, worker: Any = None) -> None:
        for number in numbers:
            tracker = (worker or self.worker).tracker
            assert self.transaction.try_write(cast(Message, Record(number)), tracker, [output(number)])

    def commit(self) -> None:
        self.exactly_once.commit(self.workers, lambda _place: cast(Any, Worker()))

    def fail_to_commit(self) -> None:
        """A commit that fails, and the wait after it."""
        self.commit()
        assert self.transaction.held
        self.commit()


def output(number: int) -> Outgoing:
    return Outgoing("stock", None, str(number).encode(), [])


def test_outputs_and_positions_are_committed_together() -> None:
    stage = Stage()
    stage.receive(0, 1, 2)
    stage.handle(0, 1)
    stage.commit()
    assert stage.log.committed == ["0", "1"]
    assert stage.log.positions == {ORDERS: 2}


def test_after_a_rollback_records_are_handled_again_from_the_committed_position_on() -> None:
    stage = Stage()
    stage.receive(0, 1, 2, 3)
    stage.handle(0, 1)
    stage.commit()
    stage.handle(2)
    stage.log.fail = TransactionAborted("as the test wants it")
    stage.fail_to_commit()
    assert stage.worker.fed == [2, 3]
    stage.handle(2, 3)
    stage.commit()
    assert stage.log.committed == ["0", "1", "2", "3"]


def test_what_was_handled_while_a_commit_was_under_way_is_kept_until_its_own() -> None:
    stage = Stage()
    stage.receive(0, 1, 2)
    stage.handle(0)
    commit = stage.transaction.commit

    def commit_and_go_on(offsets: Any, group: Any) -> list[Any]:
        positions = commit(offsets, group)
        stage.handle(1, 2)  # handlers do not wait for the consumer thread to look at what was committed
        return positions

    stage.transaction.commit = commit_and_go_on  # type: ignore[method-assign]
    stage.commit()
    stage.transaction.commit = commit  # type: ignore[method-assign]
    stage.log.fail = TransactionAborted("as the test wants it")
    stage.commit()
    assert stage.worker.fed == [1, 2]


@pytest.mark.parametrize("error", [BrokerUnavailable("lost"), ProducerFenced("fenced"), KafkaError("fatal")])
def test_a_commit_whose_answer_was_lost_is_not_repeated(error: KafkaError) -> None:
    stage = Stage()
    stage.receive(0, 1)
    stage.handle(0)
    commit = stage.log.commit

    def commit_and_lose_the_answer() -> None:
        commit()
        stage.log.commit = commit  # type: ignore[method-assign]
        raise error

    stage.log.commit = commit_and_lose_the_answer  # type: ignore[method-assign]
    stage.commit()
    assert stage.worker.fed == [1]


def test_what_a_handler_returns_after_its_partition_was_lost_gets_into_no_transaction() -> None:
    stage = Stage()
    stage.receive(0, 1)
    lost = stage.workers.pop(ORDERS)
    stage.exactly_once.lost({ORDERS: lost}, stage.workers, lambda _place: cast(Any, Worker()))
    stage.handle(0, 1, worker=lost)
    stage.commit()
    assert stage.log.committed == []


def test_what_a_handler_returns_after_its_partition_was_given_back_gets_into_no_transaction() -> None:
    stage = Stage()
    stage.receive(0, 1)
    stage.handle(0)
    leaving = stage.workers[ORDERS]
    stage.exactly_once.leaving({ORDERS: leaving})
    stage.handle(1, worker=leaving)
    stage.commit()
    assert stage.log.committed == ["0"]
    assert stage.log.positions == {ORDERS: 1}


def test_nobody_writes_while_a_commit_is_under_way() -> None:
    stage = Stage()
    stage.receive(0, 1)
    stage.handle(0)
    tried: list[bool] = []

    def offsets() -> list[Any]:
        tried.append(stage.transaction.try_write(cast(Message, Record(1)), stage.worker.tracker, [output(1)]))
        return []

    stage.transaction.commit(offsets, lambda: None)
    assert tried == [False]
    assert stage.log.committed == ["0"]


def test_an_output_that_cannot_be_sent_undoes_its_record_and_is_told_when_it_is_handled_again() -> None:
    stage = Stage()
    stage.receive(0, 1)
    stage.handle(0)
    stage.log.refuse = {"1"}
    written = stage.transaction.try_write(cast(Message, Record(1)), stage.worker.tracker, [output(7), output(1)])
    assert not written
    assert stage.exactly_once.due()
    stage.fail_to_commit()
    assert stage.log.committed == []
    assert stage.worker.fed == [0, 1]
    stage.handle(0)
    with pytest.raises(PublishError, match="too large"):
        stage.transaction.try_write(cast(Message, Record(1)), stage.worker.tracker, [output(7), output(1)])
    stage.commit()
    assert stage.log.committed == ["0"]


def test_nothing_is_written_before_it_is_known_what_was_committed() -> None:
    stage = Stage()
    stage.exactly_once.distrust(BrokerUnavailable("no answer"))
    stage.receive(0, 1)
    assert not stage.transaction.try_write(cast(Message, Record(0)), stage.worker.tracker, [output(0)])
    stage.log.positions = {ORDERS: 1}  # the member before had finished it
    stage.commit()
    assert stage.log.committed == []
    assert stage.worker.fed == [1]


def test_a_rollback_that_cannot_read_the_committed_offsets_is_tried_again() -> None:
    stage = Stage()
    stage.receive(0, 1)
    stage.handle(0)
    stage.log.fail = TransactionAborted("as the test wants it")
    stage.unreadable = True
    stage.commit()
    stage.commit()
    assert stage.worker.fed == [0, 1]


def test_a_record_is_not_blamed_for_a_transaction_that_has_failed_already() -> None:
    stage = Stage()
    stage.receive(0)
    stage.log.failed = True
    assert not stage.transaction.try_write(cast(Message, Record(0)), stage.worker.tracker, [output(0)])
    stage.log.failed = False
    stage.fail_to_commit()
    stage.handle(0)
    stage.commit()
    assert stage.log.committed == ["0"]


def test_nothing_is_written_during_the_wait_after_a_failure_for_the_broker_would_abort_what_is_open_so_long() -> None:
    stage = Stage()
    stage.receive(0)
    stage.log.fail = ProducerFenced("it was open for too long")
    stage.handle(0)
    stage.commit()
    assert not stage.transaction.try_write(cast(Message, Record(0)), stage.worker.tracker, [output(0)])
    assert not stage.exactly_once.due()
    stage.commit()
    stage.handle(0)
    stage.commit()
    assert stage.log.committed == ["0"]


def test_a_producer_that_is_found_fenced_while_a_handler_writes_is_replaced() -> None:
    stage = Stage()
    stage.receive(0, 1)
    fenced = stage.log
    fenced.fenced = ProducerFenced("as the test wants it")
    assert not stage.transaction.try_write(cast(Message, Record(0)), stage.worker.tracker, [output(0)])
    stage.log = Log()  # what opens next
    stage.fail_to_commit()
    stage.handle(0, 1)
    stage.commit()
    assert fenced.committed == []
    assert stage.log.committed == ["0", "1"]
