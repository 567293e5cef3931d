"""One member of a consumer group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ottla.broker.groups.clock import Cancellable
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

Reply = Callable[[Message], None]


def refuse_join(reply: Reply, code: ErrorCode, member_id: str) -> None:
    """Answers a JoinGroup with an error."""
    reply({"error_code": code, "member_id": member_id, "generation_id": -1, "protocol_name": None, "leader": ""})


@dataclass(frozen=True)
class JoinRequest:
    """What a client asks for when it joins. `protocols` are its assignors, best first, each with its metadata."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: list[tuple[str, bytes]]
    knows_member_id_required: bool = True
    knows_skip_assignment: bool = False


@dataclass
class Member:
    """A member, and the replies it is waiting for."""

    id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: list[tuple[str, bytes]]
    assignment: bytes = b""
    deadline: float = 0.0  # when the session ends, on the loop's clock
    joining: Reply | None = None
    syncing: Reply | None = None
    is_new: bool = False  # joined, and never answered
    timer: Cancellable | None = field(default=None, repr=False)  # looks at the session's end
    timer_at: float = field(default=0.0, repr=False)

    @classmethod
    def from_request(cls, member_id: str, request: JoinRequest) -> Member:
        return cls(
            member_id,
            request.instance_id,
            request.client_id,
            request.client_host,
            request.session_timeout_ms,
            request.rebalance_timeout_ms,
            request.protocols,
        )

    def update(self, request: JoinRequest) -> None:
        self.client_id, self.client_host = request.client_id, request.client_host
        self.session_timeout_ms = request.session_timeout_ms
        self.rebalance_timeout_ms = request.rebalance_timeout_ms
        self.protocols = request.protocols

    def metadata(self, protocol: str | None) -> bytes:
        return next((data for name, data in self.protocols if name == protocol), b"")

    def snapshot(self) -> list[Any]:
        """As JSON; bytes as latin-1 text."""
        protocols = [[name, data.decode("latin-1")] for name, data in self.protocols]
        times = [self.session_timeout_ms, self.rebalance_timeout_ms]
        who = [self.id, self.instance_id, self.client_id, self.client_host]
        return [*who, *times, protocols, self.assignment.decode("latin-1")]

    @classmethod
    def restore(cls, snapshot: list[Any]) -> Member:
        protocols = [(name, data.encode("latin-1")) for name, data in snapshot[6]]
        member_id, instance_id, client_id, client_host, session_ms, rebalance_ms = snapshot[:6]
        assignment = snapshot[7].encode("latin-1")
        return cls(member_id, instance_id, client_id, client_host, session_ms, rebalance_ms, protocols, assignment)
