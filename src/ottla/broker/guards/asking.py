"""What guards have in common: short questions to the authorizer, and changes to a reply that comes later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.security.resources import Operation, ResourceType
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

Guard = Callable[[Broker, Call], "Message | None"]

TOPIC_DENIED = ErrorCode.TOPIC_AUTHORIZATION_FAILED
GROUP_DENIED = ErrorCode.GROUP_AUTHORIZATION_FAILED
CLUSTER_DENIED = ErrorCode.CLUSTER_AUTHORIZATION_FAILED
TRANSACTION_DENIED = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
CLUSTER_MESSAGE = "Cluster authorization failed."
TOPIC_MESSAGE = "Topic authorization failed."
GROUP_MESSAGE = "Group authorization failed."


def may(
    broker: Broker, call: Call, operation: Operation, kind: ResourceType, name: str, *, quiet: bool = False
) -> bool:
    return broker.authorizer.allows(call, operation, kind, name, quiet=quiet)


def may_topic(broker: Broker, call: Call, operation: Operation, name: str, *, quiet: bool = False) -> bool:
    return broker.authorizer.allows(call, operation, ResourceType.TOPIC, name, quiet=quiet)


def may_group(broker: Broker, call: Call, operation: Operation, name: str, *, quiet: bool = False) -> bool:
    return broker.authorizer.allows(call, operation, ResourceType.GROUP, name, quiet=quiet)


def may_cluster(broker: Broker, call: Call, operation: Operation, *, quiet: bool = False) -> bool:
    return broker.authorizer.allows_cluster(call, operation, quiet=quiet)


def open_to_all(_: Broker, __: Call) -> Message | None:
    """For what everybody may ask, and for handlers that look at permissions themselves."""
    return None


def add_to(call: Call, field: str, entries: list[Message]) -> None:
    """Puts refusals beside what the handler answers. The reply's list may be another call's too: it is not changed."""
    if entries:
        call.amend_reply(lambda message: message.update({field: [*message.get(field, ()), *entries]}))


def split(entries: Iterable[Any], allowed: Callable[[Any], bool]) -> tuple[list[Any], list[Any]]:
    """The entries that are allowed, and the others; each name is asked about once by the caller's cache."""
    yes: list[Any] = []
    no: list[Any] = []
    for entry in entries:
        (yes if allowed(entry) else no).append(entry)
    return yes, no


def topic_name(broker: Broker, name: str | None, topic_id: bytes | None) -> str | None:
    """The name of a topic that may be given by its id; None for an id nobody has, which the handler answers."""
    if topic_id is not None and any(topic_id):
        topic = broker.catalog.by_id.get(topic_id)
        return topic.name if topic else None
    return name or None
