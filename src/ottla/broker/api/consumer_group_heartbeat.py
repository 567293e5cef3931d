"""ConsumerGroupHeartbeat (68), versions 0 to 1: all that members of the new protocol (KIP-848) say and learn.

Member epoch 0 joins, -1 leaves, -2 leaves a static membership for a while; any other is a heartbeat, which also says
what the member owns and gets told what it shall. From version 1 the client chooses the member id, and may subscribe by
pattern (a subset of RE2's syntax: see groups/consumer/topic_regex.py). Answered when what has changed is durable.
Errors: INVALID_REQUEST, GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH, FENCED_INSTANCE_ID,
UNRELEASED_INSTANCE_ID, UNSUPPORTED_ASSIGNOR, GROUP_MAX_SIZE_REACHED, INVALID_REGULAR_EXPRESSION,
COORDINATOR_NOT_AVAILABLE (the disk is full).
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.consumer.group import Answer
from ottla.broker.groups.consumer.member import LEFT_STATIC_EPOCH, Heartbeat, by_topic
from ottla.broker.groups.consumer.topic_regex import InvalidRegex, TopicRegex
from ottla.broker.groups.refusal import Refused, unwritten
from ottla.broker.security.resources import Operation, ResourceType
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.consumer_group_heartbeat import CONSUMER_GROUP_HEARTBEAT
from ottla.broker.wire.schema import Message

API = CONSUMER_GROUP_HEARTBEAT
MEMBER_CHOOSES_ID_SINCE = 1


def handle(broker: Broker, call: Call) -> Message | None:
    body, requests = call.body, broker.coordinator.requests
    name, member_id, epoch = body["group_id"], body["member_id"], body["member_epoch"]
    try:
        _check(broker, call)
        if epoch < 0:
            left: Message = {"member_id": member_id, "member_epoch": epoch}
            requests.consumer_leave(name, member_id, body["instance_id"], epoch, lambda: call.reply(left))
        else:
            requests.consumer_heartbeat(name, _heartbeat(broker, call), lambda answer: call.reply(_message(answer)))
    except Refused as refusal:
        return {"error_code": refusal.code, "error_message": refusal.message}
    except OSError as error:
        return {"error_code": unwritten(name, error)}
    return None


def _check(broker: Broker, call: Call) -> None:
    """Raises Refused if the request makes no sense, with Kafka's words."""
    body = call.body
    epoch, regex = body["member_epoch"], body.get("subscribed_topic_regex")
    faults = [
        (not body["member_id"] and _must_have_id(call), "MemberId can't be empty."),
        (not body["group_id"], "GroupId can't be empty."),
        (body["instance_id"] == "", "InstanceId can't be empty."),
        (body["rack_id"] == "", "RackId can't be empty."),
        (epoch < LEFT_STATIC_EPOCH, "MemberEpoch is invalid."),
        (epoch == LEFT_STATIC_EPOCH and body["instance_id"] is None, "InstanceId can't be null."),
    ]
    if epoch == 0:
        unsubscribed = body["subscribed_topic_names"] is None and regex is None
        faults += [
            (body["rebalance_timeout_ms"] == -1, "RebalanceTimeoutMs must be provided in first request."),
            (body["topic_partitions"] != [], "TopicPartitions must be empty when (re-)joining."),
            (unsubscribed, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."),
        ]
    for wrong, message in faults:
        if wrong:
            raise Refused(ErrorCode.INVALID_REQUEST, message)
    assignors = broker.config.group_consumer_assignors.split(",")
    if body["server_assignor"] is not None and body["server_assignor"] not in assignors:
        known = ", ".join(assignors)
        message = f"ServerAssignor {body['server_assignor']} is not supported. Supported assignors: {known}."
        raise Refused(ErrorCode.UNSUPPORTED_ASSIGNOR, message)
    _check_regex(regex)


def _must_have_id(call: Call) -> bool:
    return call.version >= MEMBER_CHOOSES_ID_SINCE or call.body["member_epoch"] != 0


def _check_regex(regex: str | None) -> None:
    if not regex:
        return
    try:
        TopicRegex(regex)
    except InvalidRegex as error:
        message = f"SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}."
        raise Refused(ErrorCode.INVALID_REGULAR_EXPRESSION, message) from None


def _heartbeat(broker: Broker, call: Call) -> Heartbeat:
    body = call.body

    def may_see(topic: str) -> bool:
        return broker.authorizer.allows(call, Operation.DESCRIBE, ResourceType.TOPIC, topic, quiet=True)

    owned, names = body["topic_partitions"], body["subscribed_topic_names"]
    return Heartbeat(
        member_id=body["member_id"],
        epoch=body["member_epoch"],
        instance_id=body["instance_id"],
        rack_id=body["rack_id"],
        rebalance_timeout_ms=body["rebalance_timeout_ms"],
        topics=None if names is None else tuple(names),
        regex=body.get("subscribed_topic_regex"),
        assignor=body["server_assignor"],
        owned=None
        if owned is None
        else frozenset((one["topic_id"], part) for one in owned for part in one["partitions"]),
        client_id=call.client_id or "",
        client_host=f"/{call.client_host}",
        may_see=may_see if broker.authorizer.configured else None,
    )


def _message(answer: Answer) -> Message:
    assignment = None
    if answer.assignment is not None:
        topics = by_topic(answer.assignment)
        assignment = {"topic_partitions": [{"topic_id": topic, "partitions": parts} for topic, parts in topics.items()]}
    return {
        "error_code": ErrorCode.NONE,
        "member_id": answer.member_id,
        "member_epoch": answer.epoch,
        "heartbeat_interval_ms": answer.heartbeat_interval_ms,
        "assignment": assignment,
    }
