"""Guards of the APIs about topics' records and settings.

A topic the client may not use is answered with TOPIC_AUTHORIZATION_FAILED whether it exists or not, so that nobody
learns from an error which topics there are. By id, an unknown topic stays UNKNOWN_TOPIC_ID: ids tell nothing.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards.asking import (
    TOPIC_DENIED,
    TOPIC_MESSAGE,
    TRANSACTION_DENIED,
    add_to,
    may,
    may_cluster,
    may_topic,
    split,
    topic_name,
)
from ottla.broker.security.resources import Operation, ResourceType
from ottla.broker.wire.schema import Message

NO_UUID = bytes(16)


def produce(broker: Broker, call: Call) -> Message | None:
    body = call.body
    transactional_id = body["transactional_id"]
    code = TOPIC_DENIED
    if transactional_id is not None and not may(
        broker, call, Operation.WRITE, ResourceType.TRANSACTIONAL_ID, transactional_id
    ):
        code, denied = TRANSACTION_DENIED, body["topic_data"]
        body["topic_data"] = []
    else:
        body["topic_data"], denied = split(
            body["topic_data"],
            lambda data: _may_by_name_or_id(broker, call, Operation.WRITE, data["name"], data["topic_id"]),
        )
    add_to(
        call,
        "responses",
        [
            {
                "name": data["name"],
                "topic_id": data["topic_id"],
                "partition_responses": [
                    {"index": part["index"], "error_code": code, "base_offset": -1} for part in data["partition_data"]
                ],
            }
            for data in denied
        ],
    )
    if denied and not body["acks"]:
        # Nobody reads a reply: closing the connection is the only way to say it, as in Kafka.
        broker.loop.post(call.connection.close)
    return None


def fetch(broker: Broker, call: Call) -> Message | None:
    body = call.body
    body["topics"], denied = split(
        body["topics"],
        lambda wanted: _may_by_name_or_id(broker, call, Operation.READ, wanted["topic"], wanted["topic_id"]),
    )
    if not body["topics"]:
        body["max_wait_ms"] = 0  # nothing but errors: there is nothing to wait for
    add_to(
        call,
        "responses",
        [
            {
                "topic": wanted["topic"],
                "topic_id": wanted["topic_id"],
                "partitions": [
                    {
                        "partition_index": part["partition"],
                        "error_code": TOPIC_DENIED,
                        "high_watermark": -1,
                        "records": b"",
                    }
                    for part in wanted["partitions"]
                ],
            }
            for wanted in denied
        ],
    )
    return None


def _may_by_name_or_id(broker: Broker, call: Call, operation: Operation, name: str, topic_id: bytes) -> bool:
    found = topic_name(broker, name, topic_id)
    return found is None or may_topic(broker, call, operation, found)


def list_offsets(broker: Broker, call: Call) -> Message | None:
    return _by_partition(broker, call, Operation.DESCRIBE, "name", "partition_index", {"timestamp": -1, "offset": -1})


def offset_for_leader_epoch(broker: Broker, call: Call) -> Message | None:
    return _by_partition(broker, call, Operation.DESCRIBE, "topic", "partition", {"leader_epoch": -1, "end_offset": -1})


def delete_records(broker: Broker, call: Call) -> Message | None:
    return _by_partition(broker, call, Operation.DELETE, "name", "partition_index", {"low_watermark": -1})


def _by_partition(
    broker: Broker, call: Call, operation: Operation, name: str, index: str, nothing: Message
) -> Message | None:
    """Topics by name with partitions, refused one by one."""
    call.body["topics"], denied = split(
        call.body["topics"], lambda wanted: may_topic(broker, call, operation, wanted[name])
    )
    answers = [
        {
            name: wanted[name],
            "partitions": [
                {index: part[index], "error_code": TOPIC_DENIED, **nothing} for part in wanted["partitions"]
            ],
        }
        for wanted in denied
    ]
    add_to(call, "topics", answers)
    return None


def describe_producers(broker: Broker, call: Call) -> Message | None:
    call.body["topics"], denied = split(
        call.body["topics"], lambda wanted: may_topic(broker, call, Operation.READ, wanted["name"])
    )
    answers = [
        {
            "name": wanted["name"],
            "partitions": [
                {"partition_index": index, "error_code": TOPIC_DENIED, "error_message": TOPIC_MESSAGE}
                for index in wanted["partition_indexes"]
            ],
        }
        for wanted in denied
    ]
    add_to(call, "topics", answers)
    return None


def create_topics(broker: Broker, call: Call) -> Message | None:
    if not may_cluster(broker, call, Operation.CREATE, quiet=True):
        call.body["topics"], denied = split(
            call.body["topics"], lambda wanted: may_topic(broker, call, Operation.CREATE, wanted["name"])
        )
        message = "Authorization failed."
        answers = [
            {"name": wanted["name"], "error_code": TOPIC_DENIED, "error_message": message, "configs": ()}
            for wanted in denied
        ]
        add_to(call, "topics", answers)
    call.amend_reply(lambda reply: _hide_settings(broker, call, reply))
    return None


def _hide_settings(broker: Broker, call: Call, reply: Message) -> None:
    """Who may not see a topic's settings creates it without being told them."""
    for answer in reply["topics"]:
        created = not answer.get("error_code")
        if created and not may_topic(broker, call, Operation.DESCRIBE_CONFIGS, answer["name"], quiet=True):
            answer |= {
                "topic_config_error_code": TOPIC_DENIED,
                "num_partitions": -1,
                "replication_factor": -1,
                "configs": (),
            }


def create_partitions(broker: Broker, call: Call) -> Message | None:
    call.body["topics"], denied = split(
        call.body["topics"], lambda wanted: may_topic(broker, call, Operation.ALTER, wanted["name"])
    )
    answers = [
        {"name": wanted["name"], "error_code": TOPIC_DENIED, "error_message": TOPIC_MESSAGE} for wanted in denied
    ]
    add_to(call, "results", answers)
    return None


def delete_topics(broker: Broker, call: Call) -> Message | None:
    """Who may not even know of a topic is not told its name for its id, nor whether a name exists."""
    by_name, by_id = call.body.get("topic_names", ()), call.body.get("topics", ())
    call.body["topic_names"], denied = split(by_name, lambda name: may_topic(broker, call, Operation.DELETE, name))
    answers: list[Message] = [{"name": name, "error_code": TOPIC_DENIED} for name in denied]
    kept: list[Message] = []
    for wanted in by_id:
        name = topic_name(broker, wanted["name"], wanted["topic_id"])
        if (wanted["name"] is not None and wanted["topic_id"] != NO_UUID) or name is None:
            kept.append(wanted)  # the handler has an answer that tells nothing
        elif may_topic(broker, call, Operation.DELETE, name):
            kept.append(wanted)
        else:
            shown = name if wanted["name"] or may_topic(broker, call, Operation.DESCRIBE, name, quiet=True) else None
            answers.append(
                {
                    "name": shown,
                    "topic_id": wanted["topic_id"],
                    "error_code": TOPIC_DENIED,
                    "error_message": TOPIC_MESSAGE,
                }
            )
    call.body["topics"] = kept
    add_to(call, "responses", answers)
    return None
