"""What the broker is made of, apart from sockets: catalogue, logs, groups, flusher and clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from ottla.broker import retention
from ottla.broker.broker_configs import CLEANER_BACKOFF, broker_levels
from ottla.broker.catalog import Catalog, Topic
from ottla.broker.cleaner import Cleaner
from ottla.broker.config import BrokerConfig
from ottla.broker.groups.coordinator import Coordinator
from ottla.broker.log.checkpointer import DUE_AFTER_BYTES, INTERVAL_S, Checkpointer
from ottla.broker.log.flusher import Flusher, Syncable
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.log.scrubber import Scrubber
from ottla.broker.log.segment import Segment
from ottla.broker.loop import Loop
from ottla.broker.metrics import Metrics
from ottla.broker.security.authorizer import AclAuthorizer, Authorizer
from ottla.broker.security.config import SecurityConfig
from ottla.broker.security.quotas import QuotaKeeper
from ottla.broker.topic_configs import TopicConfig, broker_defaults
from ottla.broker.transactions.coordinator import TransactionCoordinator
from ottla.broker.transactions.markers import BrokerMarkers
from ottla.broker.transactions.producer_ids import ProducerIds

logger = logging.getLogger("ottla.broker")

Callback = Callable[[], None]


class Broker:
    """The state behind the APIs. Everything runs in the loop's thread; only the flusher has its own.

    Raises:
        CorruptLog: Stored data is damaged in the middle.
    """

    def __init__(self, config: BrokerConfig, folder: Path, loop: Loop, failed: Callable[[OSError], None]) -> None:
        self.config = config
        self.loop = loop
        self.metrics = Metrics()
        self.port = config.port
        self.catalog = Catalog(folder, broker_defaults(config), str(config.node_id))
        self.catalog.recover()
        self.flusher = Flusher(loop.post, failed)
        self.coordinator = Coordinator(config, folder, loop, self.durable, self.catalog)
        self.authorizer = _authorizer(config.security, self.catalog)
        self.quotas = QuotaKeeper(self.catalog.security.quotas)
        self._unsynced: set[PartitionLog] = set()
        self.producer_ids = ProducerIds(self.catalog, self.durable)
        self.transactions = self._transactions(folder)
        self.transactions.resume()
        self._every(config.retention_check_interval_ms, self._retain)
        if config.flush == "interval":
            self._every(config.flush_interval_ms, self._flush_unsynced)
        due_after_ms = config.checkpoint_interval_ms
        # Without a flush policy syncs are to be few: then only time counts.
        due_after_bytes = 1 << 62 if config.flush == "none" else DUE_AFTER_BYTES
        self.checkpointer = Checkpointer(
            self._logs, self.flusher.flush, loop.post, due_after_ms / 1000, due_after_bytes
        )
        self._every(min(int(INTERVAL_S * 1000), due_after_ms), lambda: self.checkpointer.tick(loop.now()))
        self.cleaner = Cleaner(
            self._configured_logs,
            loop.post,
            self.flusher.flush,
            failed,
            self.metrics,
            config.cleaner_dedupe_buffer_bytes,
        )
        if config.cleaner_enable:
            self._cleaning = loop.call_later(self._cleaner_backoff_s(), self._clean)
        unchecked = ((segment, log.end_of(segment)) for log in self._logs() for segment in log.segments)
        self.scrubber = Scrubber(unchecked, self._damaged, config.scrub_bytes_per_second)
        self.scrubber.start()
        for path in self.catalog.orphans():
            retention.remove_folder(path)

    def topic(self, name: str | None, topic_id: bytes | None) -> Topic | None:
        """A topic by its id if one is given (all zero is none), else by name."""
        if topic_id is not None and any(topic_id):
            return self.catalog.by_id.get(topic_id)
        return self.catalog.topics.get(name or "")

    def durable(self, what: Syncable, done: Callback) -> None:
        """Calls `done` once what was written to a journal is as durable as the flush policy promises."""
        if self.config.flush == "ack":
            self.flusher.flush(what, done)
            return
        if self.config.flush == "interval":
            self.flusher.flush(what)
        self.loop.post(done)

    def appended(self, log: PartitionLog, done: Callback) -> None:
        """Calls `done` once what was appended to a log may be acknowledged."""
        if self.config.flush == "ack":
            self.flusher.flush(log, done)
            return
        if self.config.flush == "interval":
            self._unsynced.add(log)
        log.expose()
        done()

    def _transactions(self, folder: Path) -> TransactionCoordinator:
        ids, config = self.producer_ids, self.config
        return TransactionCoordinator(
            folder,
            self.loop,
            now_ms,
            lambda what, done: ids.when_durable(lambda: self.durable(what, done)),
            BrokerMarkers(self.catalog, self.coordinator, self.appended, self.durable, synced=config.flush == "ack"),
            ids.take,
            timeout_max_ms=config.transaction_max_timeout_ms,
            expiration_ms=config.transactional_id_expiration_ms,
            check_interval_ms=config.transaction_abort_check_interval_ms,
        )

    def discard(self, logs: list[PartitionLog], topic: Topic) -> None:
        """Removes a deleted topic's files, once no sync can be using them."""
        for log in logs:
            self.flusher.flush(log, log.destroy)
            log.synced(log.mark())
            for waiter in list(log.waiters):
                waiter(1 << 40)
        folder = self.catalog.logs_folder / topic.id.hex()
        if logs:
            self.flusher.flush(logs[-1], lambda: retention.remove_folder(folder))

    def flush_all(self) -> None:
        """Makes everything durable and ends the flusher; what it calls back is posted to the loop."""
        self.cleaner.close()
        for _, _, log in self.catalog.logs():
            if log.next_offset > log.high_watermark or log in self._unsynced or log.has_unsynced:
                self.flusher.flush(log)
        self.flusher.flush(self.catalog.journal)
        self.flusher.flush(self.coordinator.journal)
        self.flusher.flush(self.transactions.register.journal)
        self.flusher.close()

    def save(self) -> None:
        """Writes down what makes the next start quick. Everything must be durable."""
        self.checkpointer.close()

    def close(self) -> None:
        """Closes all files."""
        self.cleaner.close()
        self.scrubber.close()
        for _, _, log in self.catalog.logs():
            log.close()
        self.catalog.journal.close()
        self.coordinator.journal.close()
        self.transactions.register.journal.close()

    def _every(self, milliseconds: int, action: Callback) -> None:
        def again() -> None:
            self._every(milliseconds, action)
            action()

        self.loop.call_later(milliseconds / 1000, again)

    def _logs(self) -> Iterator[PartitionLog]:
        return (log for _, _, log in self.catalog.logs())

    def _cleaner_backoff_s(self) -> float:
        levels = broker_levels(CLEANER_BACKOFF, self.catalog.broker_settings, self.catalog.node)
        return int(levels[0].value or 0) / 1000 if levels else self.config.cleaner_backoff_ms / 1000

    def settings_changed(self) -> None:
        """Takes changed settings of the broker into force; those of topics are in force already."""
        if self.config.cleaner_enable:
            self._cleaning.cancel()
            self._clean()

    def _clean(self) -> None:
        self._cleaning = self.loop.call_later(max(self._cleaner_backoff_s(), 0.01), self._clean)
        self.cleaner.tick()

    def _configured_logs(self) -> Iterator[tuple[TopicConfig, PartitionLog]]:
        return ((topic.config, log) for topic, _, log in self.catalog.logs())

    def _damaged(self, what: str) -> None:
        logger.critical("%s: stored records are damaged; restore the file from a backup", what)

    def _flush_unsynced(self) -> None:
        for log in self._unsynced:
            self.flusher.flush(log)
        self._unsynced.clear()

    def _retain(self) -> None:
        self.catalog.reserve.restore()
        forgotten = now_ms() - self.config.producer_id_expiration_ms
        for topic, index, log in self.catalog.logs():
            log.producers.expire(forgotten, keep=log.transactions.open)
            gone = retention.apply(topic.config, log)
            if gone:
                self.remove_segments(topic, index, gone)
        self.coordinator.expire_offsets()
        self.transactions.expire()

    def remove_segments(self, topic: Topic, index: int, segments: list[Segment]) -> None:
        """Removes segments that were taken out of a log.

        The new start of the log is durable before a file goes: else a crash in between could forget how far the offsets
        had come. And a file is closed only after a round of the flusher, which may be syncing it right now.
        """
        log = topic.partitions[index]
        self.metrics.retention_segments += len(segments)
        self.metrics.retention_bytes += sum(segment.size for segment in segments)

        def remove() -> None:
            for segment in segments:
                segment.delete()
                segment.close()

        self.catalog.note_start(topic, index)
        self.flusher.flush(self.catalog.journal, lambda: self.flusher.flush(log, remove))


def _authorizer(security: SecurityConfig | None, catalog: Catalog) -> Authorizer:
    if security is None or not security.authorizer:
        if catalog.security.acls:
            logger.warning(
                "%d ACLs are stored in %s, and no authorizer is configured: they have no effect, everybody may do "
                "everything. Set authorizer.class.name (docs/security.md), or remove them.",
                len(catalog.security.acls),
                catalog.folder,
            )
        return Authorizer()
    return AclAuthorizer(catalog.security.acls, security.super_users, allow_if_none=security.allow_everyone_if_no_acl)
