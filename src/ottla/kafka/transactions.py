"""A producer whose records become visible together, or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import confluent_kafka

from ottla.errors import BrokerUnavailable, KafkaError, ProducerFenced, PublishError, TransactionAborted
from ottla.kafka.config import open_client
from ottla.kafka.producer import Delivered, SendTracer
from ottla.kafka.record import Headers, RecordMetadata
from ottla.settings import KafkaSettings

REBOOTSTRAPS_SINCE = 0x020B0000
"""The version of librdkafka that brought `metadata.recovery.strategy`, 2.11."""

REFUSALS = frozenset(
    {
        "INVALID_RECORD",
        "INVALID_TIMESTAMP",
        "MSG_SIZE_TOO_LARGE",
        "RECORD_LIST_TOO_LARGE",
        "TOPIC_AUTHORIZATION_FAILED",
        "_UNKNOWN_PARTITION",
    }
)
"""Why a record will never be taken, however often it is sent. Everything else that a transaction fails for (brokers
that were away for too long, a fenced producer) says nothing of the record."""

FLUSH_S = 5.0
"""How long an abort waits for what is on its way."""

AGAIN_S = 0.05
"""Between attempts of a step that the client library calls retriable."""


class TransactionalProducer:
    """Kafka transactions (KIP-98), one after the other. Not thread-safe, but for `send`.

    Contract: whoever opens one with a transactional id fences everybody who used that id before, and aborts what they
    had open. Consumers that read committed records only see all records of a transaction or none.

    Attributes:
        tracer: Told of each record, where somebody wants spans.

    Args:
        settings: Where the brokers are.
        transactional_id: Names the writer over restarts.
        transaction_timeout_s: The broker aborts a transaction that is open for longer.
        overrides: librdkafka properties with underscores for dots.

    Raises:
        BrokerUnavailable: No broker answered within `kafka.publish_timeout_s`.
        KafkaError: The cluster refuses transactions.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        transactional_id: str,
        *,
        transaction_timeout_s: float = 60.0,
        **overrides: Any,
    ) -> None:
        self.tracer: SendTracer | None = None
        self.transactional_id = transactional_id = settings.named(transactional_id)
        self._timeout_s = settings.publish_timeout_s
        chosen: dict[str, Any] = {
            "transactional_id": transactional_id,
            "transaction_timeout_ms": int(transaction_timeout_s * 1000),
            "partitioner": "murmur2_random",
            "linger_ms": 2,
            "message_max_bytes": 16 << 20,
            "error_cb": lambda _error: None,
        }
        if confluent_kafka.libversion()[1] >= REBOOTSTRAPS_SINCE:
            # With the other strategy a step can wait for ever for a broker that died in the middle of it.
            chosen["metadata_recovery_strategy"] = "none"
        self._producer = open_client(confluent_kafka.Producer, settings, **(chosen | overrides))
        self._refusal: Any = None
        self._acknowledged: list[RecordMetadata] | None = None
        self.must_abort = False
        try:
            self._producer.init_transactions(self._timeout_s)
        except confluent_kafka.KafkaException as error:
            cause = error.args[0]
            if cause.retriable():
                raise BrokerUnavailable(
                    f"transactional id {transactional_id}: no coordinator answered at {settings.bootstrap_servers} "
                    f"within {self._timeout_s:g} s: {cause.str()}"
                ) from error
            raise self._told(error) from error

    @contextmanager
    def transaction(self) -> Iterator[list[RecordMetadata]]:
        """What is sent within the block is committed at its end, and aborted if the block raises.

        Yields:
            A list that holds, once the block has ended well, where each record lies, in the order of acknowledgement.

        Raises:
            TransactionAborted: It was rolled back; doing it again is safe.
            ProducerFenced: Somebody else uses the transactional id now.
            BrokerUnavailable: The commit was not answered in time: the transaction is committed or it is not, the
                broker's timeout decides.
        """
        acknowledged: list[RecordMetadata] = []
        self.begin()
        self._acknowledged = acknowledged
        try:
            yield acknowledged
        except BaseException:
            self.abort()
            raise
        try:
            self.commit()
        except TransactionAborted:
            self.abort()
            raise

    def begin(self) -> None:
        """Opens a transaction. Raises as `transaction` does."""
        self._refusal = self._acknowledged = None
        self.must_abort = False
        self._step(self._producer.begin_transaction)

    def commit(self) -> None:
        """Sends what is waiting and commits. Raises as `transaction` does; after TransactionAborted, call `abort`."""
        self._step(self._producer.commit_transaction, self._timeout_s)

    def abort(self) -> None:
        """Rolls back. Where that fails, the broker's timeout or whoever took over the id does it."""
        with suppress(BrokerUnavailable, ProducerFenced):
            # What is on its way must have arrived or failed: the client library would give its sequence numbers to
            # the next transaction's first records, and the broker would take those for duplicates. After an error it
            # begins with new ones, and sends nothing more to wait for.
            if not self.must_abort:
                with suppress(confluent_kafka.KafkaException, SystemError):
                    self._producer.flush(min(self._timeout_s, FLUSH_S))
            self._step(self._producer.abort_transaction, self._timeout_s)

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers | None = None,
        partition: int = -1,
        on_delivery: Delivered | None = None,
    ) -> None:
        """Adds a record to the open transaction; waits while the buffer is full. What goes wrong is told at its end.

        Thread-safe, unlike the rest. `on_delivery` is called by whoever commits.

        Raises:
            PublishError: The record cannot be sent at all (it is too large).
            KafkaError: The transaction has failed already.
        """
        report = self._delivered if on_delivery is None else on_delivery
        if self.tracer is not None:
            headers, report = self.tracer.sending(topic, key, value, headers, report)
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=report, headers=cast(Any, headers))
                return
            except BufferError:
                self._producer.poll(AGAIN_S)
            except confluent_kafka.KafkaException as error:
                if error.args[0].name() in REFUSALS:
                    raise PublishError(f"topic {topic}: the record cannot be sent: {error.args[0]}") from error
                self.must_abort = True  # an earlier record failed, and the transaction with it
                raise self._told(error) from error

    def send_offsets(self, offsets: list[confluent_kafka.TopicPartition], group: Any) -> None:
        """Commits offsets of a consumer's group with the open transaction (KIP-447).

        Args:
            offsets: The positions: the first offsets that are not handled.
            group: The consumer's `consumer_group_metadata()`: a member that was replaced meanwhile is refused.

        Raises:
            TransactionAborted, ProducerFenced, BrokerUnavailable: As `transaction` says.
        """
        self._step(self._producer.send_offsets_to_transaction, offsets, group, self._timeout_s)

    def close(self) -> None:
        """Gives the client up: what was open is aborted by the next one with this id, or by the broker's timeout."""
        # A client that met a fatal error says so again at every call.
        with suppress(confluent_kafka.KafkaException, SystemError):
            self._producer.purge()
            self._producer.poll(0)

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self._refusal = self._refusal or error
            self.must_abort = True
        elif self._acknowledged is not None:
            where = RecordMetadata(message.topic(), message.partition(), message.offset(), message.timestamp()[1])
            self._acknowledged.append(where)

    def _step(self, function: Any, *arguments: Any) -> None:
        """Takes one step of the protocol, again while it may still succeed."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                function(*arguments)
                return
            except confluent_kafka.KafkaException as error:
                self.must_abort = self.must_abort or error.args[0].txn_requires_abort()
                if not error.args[0].retriable() or time.monotonic() > deadline:
                    raise self._told(error) from error
                time.sleep(AGAIN_S)
            except SystemError as broken:
                # A fatal error, and then a delivery report: the library calls us with the first one's exception set.
                if not isinstance(broken.__cause__, confluent_kafka.KafkaException):
                    raise
                raise self._told(broken.__cause__) from broken

    def _told(self, error: confluent_kafka.KafkaException) -> KafkaError:
        cause = error.args[0]
        reason = (self._refusal or cause).str()
        name = f"transactional id {self.transactional_id}"
        if cause.code() in (confluent_kafka.KafkaError._FENCED, confluent_kafka.KafkaError.INVALID_PRODUCER_EPOCH):
            return ProducerFenced(f"{name}: another producer uses it now, this one may write no more: {reason}")
        if cause.code() == confluent_kafka.KafkaError._FATAL:  # what led to it, mostly being fenced, is not told again
            return ProducerFenced(f"{name}: after a fatal error this producer may write no more: {reason}")
        if cause.txn_requires_abort():
            return TransactionAborted(f"{name}: the transaction was rolled back, nothing of it is visible: {reason}")
        if cause.retriable():
            return BrokerUnavailable(f"{name}: no answer within {self._timeout_s:g} s: {reason}")
        return KafkaError(f"{name}: {reason}")
