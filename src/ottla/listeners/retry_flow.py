"""The consumer thread's part in retry topics: who owns their partitions, when their records are due, and that nothing
is handled before it is known what lies there.

A retry topic's partitions are not given out by the group: whoever is assigned partition p of a topic takes the
partitions p of its retry topics with it, and gives them back with it. So one member has all that belongs to a key.

Records that are not due lie on a shelf, and their partition is paused: no thread waits for them. Where the order of
keys is kept, the topic's records lie there too until the retry topics have been read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator

from ottla.errors import BrokerUnavailable
from ottla.kafka.record import Message
from ottla.listeners.agreement import RetryPlan
from ottla.listeners.hooks import Conditions
from ottla.listeners.parked import EXACT_MAX, PARKED_MAX, SPAN_MIN, ParkedKeys
from ottla.listeners.partition import Partition
from ottla.listeners.ticket import WAITING, Ticket, retry_topic

Place = tuple[str, int]

CONDITION = "retry topics"
AGAIN_S = 1.0
"""Between two attempts to read the retry topics."""

SEARCH_S = 120.0
"""An attempt that takes longer is given up: no answer takes more than half a minute."""

FOREVER_MS = 1 << 62

Committed = dict[Place, tuple[int, str | None]]
Find = Callable[[list[Place], Committed], dict[Place, ParkedKeys]]


class Family:
    """A partition of a topic and those of its retry topics.

    Attributes:
        waiting: The one for records that wait for others of their key; there if `ordered`.
        ready: Whether its records may be handled.
        parked: What lies in the retry topics; None until it is known.
        moving_on: Whether records that wait are being moved.
    """

    def __init__(self, place: Place, members: list[Place], ordered: bool) -> None:
        self.place = place
        self.members = members
        self.waiting = (retry_topic(place[0], WAITING), place[1])
        self.ready = not ordered
        self.parked: ParkedKeys | None = None
        self.moving_on = False


class RetryFlow:
    """Belongs to the consumer thread.

    Args:
        plan: Which topics have retry topics.
        find: Finds out which records of some partitions lie in retry topics, given what is committed there; called on
            a thread of its own.
        committed: Gives offset and metadata that the group has committed; called on the consumer thread, for the client
            library answers no other while that one polls.
        conditions: Told while that cannot be known.
        log: For what the operator should know.
        exact: The topics that are handled exactly once.
        now: Seconds since the epoch.
    """

    def __init__(
        self,
        plan: RetryPlan,
        *,
        find: Find,
        committed: Callable[[list[Place]], Committed],
        conditions: Conditions,
        log: logging.Logger,
        exact: Collection[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._exact = exact
        self._plan = plan
        self._find = find
        self._committed = committed
        self._conditions = conditions
        self._log = log
        self._now = now
        self._families: dict[Place, Family] = {}  # by each of its places
        self._shelves: dict[Place, deque[tuple[int, Message]]] = {}
        self._search: _Search | None = None
        self._next_search = 0.0

    def companions(self, places: Iterable[Place]) -> list[Place]:
        """The partitions of retry topics that go with some partitions."""
        return [(name, partition) for topic, partition in places for name in self._plan.names(topic)]

    def assigned(self, places: Iterable[Place]) -> None:
        """Partitions have come, of topics: their retry topics' have come with them."""
        for place in places:
            if place[0] in self._plan.topics:
                self._settle(place)

    def gone(self, place: Place) -> None:
        """A partition, of a topic or of a retry topic, is not ours any more."""
        self._families.pop(place, None)
        self._shelves.pop(place, None)

    def again(self, place: Place, messages: list[Message]) -> bool:
        """A partition's records are to be handled anew, because what they led to was undone. True if they lie on a
        shelf now, until the retry topics have been read again; they are not to be fed then."""
        family = self._families.get(place)
        if family is None or not self._plan.keeps_order(family.place[0]):
            return False
        if family.ready:
            self._renew(family)
        self._shelves[place].extendleft((0, message) for message in reversed(messages))
        return True

    def together(self, place: Place) -> list[Place]:
        """The partitions whose records are handled by what is known of all of them: where the order of keys is kept,
        those of its retry topics too."""
        family = self._families.get(place)
        return [place] if family is None or not self._plan.keeps_order(place[0]) else list(family.members)

    def first_on_shelf(self, place: Place) -> int | None:
        """The offset of the first record of a partition that waits."""
        shelf = self._shelves.get(place)
        return shelf[0][1].offset() if shelf else None

    def begin_anew(self, place: Place) -> None:
        """What was in hand of a partition is given up, and where order is kept of its retry topics' too."""
        for one in self.together(place):
            if one in self._shelves:
                self._shelves[one].clear()
        if self._plan.keeps_order(place[0]):
            self._renew(self._families[place])

    def take(self, place: Place, messages: list[Message]) -> list[Message]:
        """Records have come from Kafka: gives those to be handled at once. The others lie on the shelf."""
        family = self._families.get(place)
        if family is None:
            return messages
        # Records that wait for others do not wait for a time of their own.
        at_once, shelf = place == family.place or place == family.waiting, self._shelves[place]
        if at_once and family.ready and not shelf:
            return messages
        if at_once:
            shelf.extend((0, message) for message in messages)
        else:
            shelf.extend((_due_ms(message), message) for message in messages)
        return []

    def due(self) -> Iterator[tuple[Place, list[Message]]]:
        """The records whose time has come, by partition."""
        now_ms = int(self._now() * 1000)
        for place, shelf in self._shelves.items():
            if shelf and shelf[0][0] <= now_ms and self._families[place].ready:
                ready = []
                while shelf and shelf[0][0] <= now_ms:
                    ready.append(shelf.popleft()[1])
                yield place, ready

    def wait_s(self, longest_s: float) -> float:
        """How long to wait for records from Kafka: until the next one on a shelf is due."""
        if self._search is not None:
            longest_s = min(longest_s, 0.02)
        first_ms = min(
            (shelf[0][0] for place, shelf in self._shelves.items() if shelf and self._families[place].ready),
            default=FOREVER_MS,
        )
        return min(longest_s, max(0.0, first_ms / 1000 - self._now()))

    def holds(self, place: Place) -> bool:
        """Whether a partition is to rest: what came from it waits, or too much of it waits in retry topics."""
        if self._shelves.get(place):
            return True
        family = self._families.get(place)
        if family is None or family.parked is None:
            return False
        if place == family.place:
            return family.parked.is_full(EXACT_MAX if place[0] in self._exact else PARKED_MAX)
        return place == family.waiting and family.moving_on

    def move_on(self, workers: dict[Place, Partition]) -> None:
        """Where so much is finished behind records that wait for others that it becomes too much to remember, these
        are moved to the end of their topic. It rests until that is done."""
        for place, family in self._families.items():
            if place != family.waiting:
                continue
            if family.parked is None:
                continue
            if (position := workers[family.place].tracker.position) is not None:
                family.parked.passed(position)
            held = family.parked.held()
            if not (held or family.moving_on):
                continue
            most = SPAN_MIN if family.place[0] in self._exact else max(SPAN_MIN, held)
            family.moving_on = workers[family.waiting].tracker.beyond >= most
            if family.moving_on:
                family.parked.move_on()

    def search(self, workers: dict[Place, Partition]) -> None:
        """Sees to it that what lies in retry topics gets known, and opens the partitions for which it is."""
        if self._search is not None:
            if self._search.over:
                self._found(self._search, workers)
            elif time.monotonic() - self._search.began > SEARCH_S:
                self._failed(BrokerUnavailable(f"it has taken more than {SEARCH_S:g} s"))
            else:
                return
            self._search = None
        wanted = {family.place: family for family in self._families.values() if not family.ready}
        if not wanted or time.monotonic() < self._next_search:
            return
        try:
            committed = self._committed([*wanted, *self.companions(wanted)])
        except BrokerUnavailable as error:
            self._failed(error)
        else:
            self._search = _Search(list(wanted.values()), committed, lambda places: self._find(places, committed))

    def close(self, timeout_s: float) -> None:
        """Waits for an attempt to read the retry topics to end. From any thread.

        The library answers its administration clients on threads of its own: a process that ends meanwhile crashes.
        """
        if (search := self._search) is not None:
            search.join(timeout_s)

    def _failed(self, error: Exception) -> None:
        self._log.warning("the retry topics could not be read, trying again: %s", error)
        self._conditions.raise_condition(CONDITION, f"the retry topics could not be read: {error}")
        self._next_search = time.monotonic() + AGAIN_S

    def _found(self, search: _Search, workers: dict[Place, Partition]) -> None:
        if search.error is not None:
            self._failed(search.error)
            return
        self._conditions.clear_condition(CONDITION)
        for family in search.families:
            if self._families.get(family.place) is not family:
                continue  # given back meanwhile, or begun anew
            parked = family.parked = search.found[family.place]
            for place in family.members:
                workers[place].tracker.parked = parked
                restores = place != family.place and workers[place].tracker.remembers  # a topic's own is long there
                if restores and place in search.committed:
                    workers[place].tracker.restore(*search.committed[place])
            waiting = workers[family.waiting]
            parked.wake, waiting.tracker.held = waiting.feed, parked.held
            family.ready = True
            if len(family.parked):
                self._log.info("%s[%d]: %d records lie in retry topics", *family.place, len(family.parked))

    def _settle(self, place: Place) -> None:
        family = Family(place, [place, *self.companions([place])], self._plan.keeps_order(place[0]))
        for one in family.members:
            self._families[one] = family
            self._shelves[one] = deque()

    def _renew(self, old: Family) -> None:
        family = Family(old.place, old.members, True)
        for one in family.members:
            self._families[one] = family


class _Search:
    """Finds out on a thread of its own: the consumer thread goes on."""

    def __init__(
        self, families: list[Family], committed: Committed, find: Callable[[list[Place]], dict[Place, ParkedKeys]]
    ) -> None:
        self.families = families
        self.committed = committed
        self.found: dict[Place, ParkedKeys] = {}
        self.error: Exception | None = None
        self.began = time.monotonic()
        self._find = find
        self._thread = threading.Thread(target=self._run, name="ottla-retry-topics", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.found = self._find([family.place for family in self.families])
        except Exception as error:
            self.error = error


def _due_ms(message: Message) -> int:
    ticket = Ticket.of(message)
    return 0 if ticket is None else ticket.due_ms
