"""Writing markers: to the logs of partitions, and to what groups hold back for a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ottla.broker.catalog import Catalog, Topic
from ottla.broker.groups.coordinator import Coordinator
from ottla.broker.log.control import Marker
from ottla.broker.log.flusher import Syncable
from ottla.broker.log.partition_log import PartitionLog
from ottla.broker.log.recovery import now_ms
from ottla.broker.transactions.register import Register
from ottla.broker.transactions.transaction import EPOCH_MAX, TV2, Partition, Start, State, Transaction

logger = logging.getLogger("ottla.broker")

Callback = Callable[[], None]
COORDINATOR_EPOCH = 0


class BrokerMarkers:
    """Writes to the broker's own logs and groups.

    Args:
        catalog: Finds partitions.
        groups: Hold pending offsets.
        appended: Calls back once what was appended to a log may be acknowledged.
        durable: The same for a journal.
        synced: Whether nothing is acknowledged before it is on the disk.
    """

    def __init__(
        self,
        catalog: Catalog,
        groups: Coordinator,
        appended: Callable[[PartitionLog, Callback], None],
        durable: Callable[[Syncable, Callback], None],
        *,
        synced: bool,
    ) -> None:
        self._synced = synced
        self._catalog = catalog
        self._groups = groups
        self._appended = appended
        self._durable = durable
        self._waits: dict[str, Wait] = {}

    def write(self, one: Transaction, done: Callback) -> None:
        """Writes the marker of a prepared transaction; see the coordinator's Markers.

        Raises:
            OSError: Some may have it; they are no longer among the unmarked partitions and groups.
        """
        # After a failure the wait goes on with the next try, for the markers of both.
        wait = self._waits.setdefault(one.id, Wait(done))
        for partition in list(one.unmarked_partitions):
            self._mark_partition(one, partition, wait)
            one.unmarked_partitions.discard(partition)
        for group in list(one.unmarked_groups):
            self._groups.finish(group, one.producer_id, committed=one.marker is Marker.COMMIT)
            self._durable(self._groups.journal, wait.enter())
            one.unmarked_groups.discard(group)
        del self._waits[one.id]
        wait.leave()

    def _mark_partition(self, one: Transaction, partition: Partition, wait: Wait) -> None:
        found = self._find(partition)
        if found is None:
            return  # the topic is gone, and the records with it
        topic, log = found
        mark(topic, log, one.producer_id, one.epoch, one.marker, COORDINATOR_EPOCH)
        self._appended(log, wait.enter())

    def _find(self, partition: Partition) -> tuple[Topic, PartitionLog] | None:
        topic = self._catalog.topics.get(partition[0])
        log = topic.partition(partition[1]) if topic else None
        return (topic, log) if topic and log else None

    def start_in(self, partition: Partition) -> Start:
        """Where a transaction begins that takes in the partition now: at the end of what is durable of it."""
        found = self._find(partition)
        return Start(found[0].id.hex(), found[1].high_watermark) if found else Start("", 0)

    # After a start

    def settle(self, register: Register) -> None:
        """Squares the register with what the logs and the groups hold.

        Of a prepared transaction only what is still open keeps its place: the rest had its marker before the crash. A
        partition that is open in its log, though the register does not know (with transaction.version 2 partitions are
        added by producing, and a power cut may have kept the records alone), is taken into its producer's transaction;
        so is a group. If the producer is gone, nobody can ever end it: it is aborted. So is what an earlier transaction
        has left open: with `--flush interval` or `none` a power cut may take a marker, and keep what was done since.
        """
        by_producer = {one.producer_id: one for one in register.by_id.values()}
        for one in register.by_id.values():
            if one.is_prepared:
                one.unmarked_partitions = {part for part in one.partitions if self._wants_marker(one, part)}
                one.unmarked_groups = {group for group in one.groups if self._has_pending(one, group)}
            elif shorter := self._shorter(one):
                # What the producer writes next is before where it began.
                register.add(one, shorter, set(), one.version, now_ms())
        for topic, index, log in self._catalog.logs():
            for producer_id in list(log.transactions.open):
                self._adopt_partition(topic, index, log, producer_id, by_producer.get(producer_id), register)
        for group, producer_id, epoch in list(self._groups.pending.producers()):
            self._adopt_group(group, producer_id, epoch, by_producer.get(producer_id), register)

    def _wants_marker(self, one: Transaction, partition: Partition) -> bool:
        found = self._find(partition)
        if found is None or one.producer_id not in found[1].transactions.open:
            return False
        # At a later epoch: these are records of the transaction after this one. At an earlier one, of one before.
        if found[1].producers.states[one.producer_id].epoch != one.written_epoch:
            return False
        return self._is_of(one, partition, found[1])

    def _shorter(self, one: Transaction) -> dict[Partition, Start]:
        """The partitions of a transaction whose logs have lost their ends, and where they end now."""
        now = {partition: self.start_in(partition) for partition in one.starts}
        return {
            partition: now[partition]
            for partition, start in one.starts.items()
            if now[partition].topic_id == start.topic_id and now[partition].offset < start.offset
        }

    def _is_of(self, one: Transaction, partition: Partition, log: PartitionLog) -> bool:
        """Whether what is open in a log began after the partition was added: with version 1 epochs do not tell."""
        start = one.starts.get(partition)
        if start is None:
            return False
        is_new = self._catalog.topics[partition[0]].id.hex() != start.topic_id
        return is_new or log.transactions.open[one.producer_id] >= start.offset

    def _has_pending(self, one: Transaction, group: str) -> bool:
        epoch = self._groups.pending.epoch(group, one.producer_id)
        return epoch is not None and epoch == one.written_epoch

    def _adopt_partition(
        self, topic: Topic, index: int, log: PartitionLog, producer_id: int, one: Transaction | None, register: Register
    ) -> None:
        epoch = log.producers.states[producer_id].epoch
        partition = topic.name, index
        if one is not None and one.is_prepared and partition in one.unmarked_partitions:
            return
        known = one is not None and not one.is_prepared and partition in one.partitions
        if known and one is not None and one.epoch == epoch and self._is_of(one, partition, log):
            return
        if one is not None and not known and self._goes_on(one, epoch, register):
            start = Start(topic.id.hex(), log.transactions.open[producer_id])
            register.add(one, {partition: start}, set(), TV2, now_ms())
            logger.warning("%s: transaction %s is open here, and goes on", log.folder, one.id)
            return
        logger.warning("%s: aborting the transaction of producer %d, nobody can end it", log.folder, producer_id)
        mark(topic, log, producer_id, min(epoch + 1, EPOCH_MAX), Marker.ABORT, COORDINATOR_EPOCH)
        self._appended(log, lambda: None)

    def _adopt_group(
        self, group: str, producer_id: int, epoch: int, one: Transaction | None, register: Register
    ) -> None:
        if one is not None and one.is_prepared and group in one.unmarked_groups:
            return
        if one is not None and not one.is_prepared and one.epoch == epoch and group in one.groups:
            return
        if one is not None and self._goes_on(one, epoch, register):
            register.add(one, {}, {group}, TV2, now_ms())
            return
        logger.warning("group %s: dropping offsets of producer %d's transaction, nobody can end it", group, producer_id)
        self._groups.finish(group, producer_id, committed=False)

    def _goes_on(self, one: Transaction, epoch: int, register: Register) -> bool:
        """Whether what is open at an epoch belongs to the transaction that its producer has open, or may go on with."""
        if one.epoch != epoch:
            return False
        if one.state is State.EMPTY and not self._synced:
            return False  # the register has lost what was decided of it
        if one.state is not State.EMPTY and one.version < TV2:
            return False  # its partitions were added before they were written to: this is what one before has left
        if one.is_prepared:
            if one.unmarked_partitions or one.unmarked_groups:
                return False
            # What was decided is the transaction before: the disk had not kept that it was complete.
            register.complete(one, now_ms())
        return True


def mark(topic: Topic, log: PartitionLog, producer_id: int, epoch: int, marker: Marker, coordinator_epoch: int) -> None:
    """Appends one marker. Raises OSError: nothing was appended."""
    log.append_control(
        producer_id,
        epoch,
        marker,
        coordinator_epoch=coordinator_epoch,
        segment_bytes=topic.config.segment_bytes,
        segment_ms=topic.config.segment_ms,
    )


class Wait:
    """Calls back when everybody who entered is done, and the one who opened it has left."""

    __slots__ = ("_done", "_inside")

    def __init__(self, done: Callback) -> None:
        self._done = done
        self._inside = 1

    def enter(self) -> Callback:
        self._inside += 1
        return self.leave

    def leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._done()
