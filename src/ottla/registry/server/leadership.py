"""Which of several instances on one log writes: decided by the order of the log.

Every instance reads the whole log. The one whose announcement is the last in it leads: it alone decides on ids and
versions, and the others send writes on to it. Each record carries the token of the announcement under which it was
written; a record whose token is not that of the last announcement before it counts for nothing. So:

    A announces (token a) .. A writes x (a) .. B announces (b) .. A writes y (a): void .. B writes y (b)

A may have been paused or cut off when it wrote y; it finds on reading that y is void, and sends the request on to B.
All instances read the same log, so all agree, and no clock, no lease and no group membership is involved. An instance
announces itself when it is to write and nobody leads, or when the leader cannot be reached.

Compaction keeps only the last record of a key, so a void record could outlive the one it must not replace: whoever
leads writes what is in force once more, before anything else.
"""

from __future__ import annotations

import uuid

from .records import Entry, Leader, note_entry
from .store import Store


class Elsewhere(Exception):
    """Another instance decides. Ask it, or take over if it cannot be reached."""

    def __init__(self, leader: Leader) -> None:
        self.leader = leader
        super().__init__(f"the instance at {leader.url} decides")


class Leadership:
    """What one instance knows of its own part in this.

    Attributes:
        url: Where the others reach it; None if there are no others.
        token: Of its last announcement; None before the first.
    """

    def __init__(self, url: str | None) -> None:
        self.url = url
        self.token: str | None = None
        self._replace: str | None = None

    def take_over(self, leader: Leader) -> None:
        """The leader does not answer: the next write announces this instance instead, unless another one has."""
        self._replace = leader.token

    def announcement(self, store: Store) -> Entry | None:
        """What to write before anything else; None if this instance leads already.

        Raises:
            Elsewhere: Another one leads.
        """
        if self.url is None:
            return None
        leader = store.leader
        if leader is not None:
            if leader.token == self.token:
                return None
            # Who announced itself under our address is an earlier run of ours.
            if leader.url != self.url and leader.token != self._replace:
                raise Elsewhere(leader)
        self.token = uuid.uuid4().hex
        return note_entry(store.highest_ids(), Leader(self.token, self.url))

    def require(self, store: Store) -> None:
        """Raises Elsewhere if another instance announced itself after this one."""
        if store.leader is not None and store.leader.token != self.token:
            raise Elsewhere(store.leader)
