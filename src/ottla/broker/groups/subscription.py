"""Which topics a group reads, as far as the broker can know: from the consumer protocol's metadata."""

from __future__ import annotations

import struct

from ottla.broker.groups.group import Group

CONSUMER = "consumer"


def topics_of(group: Group) -> set[str]:
    """The topics the members subscribe to; empty for groups that do not speak the consumer protocol."""
    topics: set[str] = set()
    if group.protocol_type != CONSUMER:
        return topics
    for member in group.members.values():
        for _, metadata in member.protocols[:1]:
            topics.update(_subscribed(metadata))
    return topics


def _subscribed(metadata: bytes) -> list[str]:
    """The topic names in a subscription: a version (int16), a count (int32), then strings."""
    try:
        _, count = struct.unpack_from(">hi", metadata)
        position, names = 6, []
        for _ in range(count):
            (size,) = struct.unpack_from(">h", metadata, position)
            position += 2 + size
            names.append(str(metadata[position - size : position], "utf-8"))
        return names
    except (struct.error, UnicodeDecodeError):
        return []  # a plug-in's own format: nothing to learn from it
