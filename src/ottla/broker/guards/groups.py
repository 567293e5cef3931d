"""Guards of the APIs about consumer groups and their offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards.asking import (
    GROUP_DENIED,
    GROUP_MESSAGE,
    TOPIC_DENIED,
    TRANSACTION_DENIED,
    Guard,
    add_to,
    may,
    may_cluster,
    may_group,
    may_topic,
    split,
    topic_name,
)
from ottla.broker.security.resources import Operation, ResourceType
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

GROUP, TRANSACTION = 0, 1
GROUPS_FETCHED_SINCE = 8


def member(refusal: Callable[[Call], Message]) -> Guard:
    """The guard of a request that a group's member makes: READ on the group."""

    def guard(broker: Broker, call: Call) -> Message | None:
        if may_group(broker, call, Operation.READ, call.body["group_id"]):
            return None
        return refusal(call)

    return guard


def _join_refusal(call: Call) -> Message:
    return {
        "error_code": GROUP_DENIED,
        "member_id": call.body["member_id"],
        "leader": "",
        "protocol_name": None if call.version >= 7 else "",
    }


join = member(_join_refusal)
simple = member(lambda _: {"error_code": GROUP_DENIED})


def consumer_heartbeat(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not may_group(broker, call, Operation.READ, body["group_id"]):
        return {"error_code": GROUP_DENIED, "error_message": GROUP_MESSAGE}
    for name in body["subscribed_topic_names"] or ():
        if not may_topic(broker, call, Operation.DESCRIBE, name):
            return {"error_code": TOPIC_DENIED, "error_message": "Topic authorization failed."}
    call.amend_reply(lambda reply: _assign_known(broker, call, reply))
    return None


def _assign_known(broker: Broker, call: Call, reply: Message) -> None:
    """A pattern can match topics that the member must not know of: it is not given those."""
    assignment = reply.get("assignment")
    if assignment:
        known = [part for part in assignment["topic_partitions"] if _knows(broker, call, part["topic_id"])]
        reply["assignment"] = {**assignment, "topic_partitions": known}


def _knows(broker: Broker, call: Call, topic_id: bytes) -> bool:
    name = topic_name(broker, None, topic_id)
    return name is None or may_topic(broker, call, Operation.DESCRIBE, name, quiet=True)


def find_coordinator(broker: Broker, call: Call) -> Message | None:
    body = call.body
    kind = body["key_type"]
    if call.version >= 4:
        keys = body["coordinator_keys"]
        body["coordinator_keys"], denied = split(keys, lambda key: _may_find(broker, call, kind, key))
        add_to(call, "coordinators", [_not_found(kind, key) for key in denied])
        return None
    return None if _may_find(broker, call, kind, body["key"]) else _not_found(kind, body["key"])


def _may_find(broker: Broker, call: Call, kind: int, key: str) -> bool:
    if kind == GROUP:
        return may_group(broker, call, Operation.DESCRIBE, key)
    if kind == TRANSACTION:
        return may(broker, call, Operation.DESCRIBE, ResourceType.TRANSACTIONAL_ID, key)
    return True  # the handler refuses it


def _not_found(kind: int, key: str) -> Message:
    code = GROUP_DENIED if kind == GROUP else TRANSACTION_DENIED
    return {"key": key, "error_code": code, "error_message": code.name, "node_id": -1, "host": "", "port": -1}


def describe_groups(broker: Broker, call: Call) -> Message | None:
    return _describe(broker, call, "groups")


def describe_consumer_groups(broker: Broker, call: Call) -> Message | None:
    call.amend_reply(lambda reply: _hide_topics(broker, call, reply))
    return _describe(broker, call, "group_ids")


def _describe(broker: Broker, call: Call, field: str) -> Message | None:
    call.body[field], denied = split(call.body[field], lambda name: may_group(broker, call, Operation.DESCRIBE, name))
    answers = [{"group_id": name, "error_code": GROUP_DENIED, "error_message": GROUP_MESSAGE} for name in denied]
    add_to(call, "groups", answers)

    def operations(reply: Message) -> None:
        if not call.body["include_authorized_operations"]:
            return
        for answer in reply["groups"]:
            if not answer.get("error_code"):
                answer["authorized_operations"] = broker.authorizer.operations(
                    call, ResourceType.GROUP, answer["group_id"]
                )

    call.amend_reply(operations)
    return None


def _hide_topics(broker: Broker, call: Call, reply: Message) -> None:
    """A group that reads a topic the client must not know of is described without its members, as by Kafka."""
    for answer in reply["groups"]:
        names = {
            part["topic_name"]
            for one in answer.get("members", ())
            for which in ("assignment", "target_assignment")
            for part in (one[which]["topic_partitions"] if one.get(which) else ())
        } | {name for one in answer.get("members", ()) for name in one.get("subscribed_topic_names") or ()}
        if not all(may_topic(broker, call, Operation.DESCRIBE, name, quiet=True) for name in names):
            message = "The group has described topic(s) that the client is not authorized to describe."
            answer |= {"error_code": TOPIC_DENIED, "error_message": message, "members": ()}


def list_groups(broker: Broker, call: Call) -> Message | None:
    if may_cluster(broker, call, Operation.DESCRIBE, quiet=True):
        return None

    def visible(reply: Message) -> None:
        reply["groups"] = [
            group
            for group in reply.get("groups", ())
            if may_group(broker, call, Operation.DESCRIBE, group["group_id"], quiet=True)
        ]

    call.amend_reply(visible)
    return None


def delete_groups(broker: Broker, call: Call) -> Message | None:
    names = call.body["groups_names"]
    call.body["groups_names"], denied = split(names, lambda name: may_group(broker, call, Operation.DELETE, name))
    add_to(call, "results", [{"group_id": name, "error_code": GROUP_DENIED} for name in denied])
    return None


def offset_commit(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not may_group(broker, call, Operation.READ, body["group_id"]):
        return {"topics": _refused(body["topics"], GROUP_DENIED)}
    return _committed_topics(broker, call)


def txn_offset_commit(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not may(broker, call, Operation.WRITE, ResourceType.TRANSACTIONAL_ID, body["transactional_id"]):
        return {"topics": _refused(body["topics"], TRANSACTION_DENIED)}
    if not may_group(broker, call, Operation.READ, body["group_id"]):
        return {"topics": _refused(body["topics"], GROUP_DENIED)}
    return _committed_topics(broker, call)


def _committed_topics(broker: Broker, call: Call) -> Message | None:
    def allowed(wanted: Message) -> bool:
        name = topic_name(broker, wanted["name"], wanted.get("topic_id"))
        return name is None or may_topic(broker, call, Operation.READ, name)

    call.body["topics"], denied = split(call.body["topics"], allowed)
    refusals = _refused(denied, TOPIC_DENIED)
    if denied and not call.body["topics"]:
        return {"topics": refusals}
    add_to(call, "topics", refusals)
    return None


def _refused(topics: list[Message], code: ErrorCode) -> list[Message]:
    return [
        {
            "name": wanted["name"],
            "topic_id": wanted.get("topic_id", bytes(16)),
            "partitions": [
                {"partition_index": part["partition_index"], "error_code": code} for part in wanted["partitions"]
            ],
        }
        for wanted in topics
    ]


def offset_delete(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if not may_group(broker, call, Operation.DELETE, body["group_id"]):
        return {"error_code": GROUP_DENIED}
    body["topics"], denied = split(
        body["topics"], lambda wanted: may_topic(broker, call, Operation.READ, wanted["name"])
    )
    add_to(call, "topics", _refused(denied, TOPIC_DENIED))
    return None


def offset_fetch(broker: Broker, call: Call) -> Message | None:
    body = call.body
    if call.version < GROUPS_FETCHED_SINCE:
        refusal = _fetch_refusal(broker, call, body)
        if refusal is None:
            call.amend_reply(lambda reply: _fetched(broker, call, body, reply))
        return refusal
    kept: list[Message] = []
    denied: list[Message] = []
    for wanted in body["groups"]:
        refusal = _fetch_refusal(broker, call, wanted)
        if refusal is None:
            kept.append(wanted)
        else:
            denied.append({"group_id": wanted["group_id"], **refusal})
    body["groups"] = kept
    by_name = {wanted["group_id"]: wanted for wanted in kept}

    def fetched(reply: Message) -> None:
        for answer in reply["groups"]:
            _fetched(broker, call, by_name[answer["group_id"]], answer)

    call.amend_reply(fetched)
    add_to(call, "groups", denied)
    return None


def _fetch_refusal(broker: Broker, call: Call, wanted: Message) -> Message | None:
    """What is answered for a group that the client may not describe. Notes which topics it must not be told of."""
    if not may_group(broker, call, Operation.DESCRIBE, wanted["group_id"]):
        topics = _not_fetched(wanted["topics"] or (), GROUP_DENIED) if call.version < 2 else []
        return {"error_code": GROUP_DENIED, "topics": topics}
    if wanted["topics"] is not None:

        def allowed(one: Message) -> bool:
            name = topic_name(broker, one.get("name"), one.get("topic_id"))
            return name is None or may_topic(broker, call, Operation.DESCRIBE, name)

        wanted["topics"], wanted["denied"] = split(wanted["topics"], allowed)
    return None


def _fetched(broker: Broker, call: Call, wanted: Message, answer: Message) -> None:
    if wanted["topics"] is None:
        answer["topics"] = [
            one
            for one in answer.get("topics", ())
            if may_topic(broker, call, Operation.DESCRIBE, one["name"], quiet=True)
        ]
    elif wanted["denied"] and not answer.get("error_code"):
        answer["topics"] = [*answer.get("topics", ()), *_not_fetched(wanted["denied"], TOPIC_DENIED)]


def _not_fetched(topics: Iterable[Message], code: ErrorCode) -> list[Message]:
    nothing = {"committed_offset": -1, "committed_leader_epoch": -1, "metadata": "", "error_code": code}
    return [
        {
            "name": one.get("name", ""),
            "topic_id": one.get("topic_id", bytes(16)),
            "partitions": [{"partition_index": index, **nothing} for index in one["partition_indexes"]],
        }
        for one in topics
    ]
