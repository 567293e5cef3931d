"""CreateTopics (19), versions 0 to 7: makes topics, durably, before the answer.

Partition count -1 takes the broker's default. Any replication factor from 1 up and -1 are accepted and reported as 1
(there is one node), unless `any_replication_factor` is off. Assignments are accepted for their number of partitions.
Errors per topic: TOPIC_ALREADY_EXISTS, INVALID_TOPIC_EXCEPTION, INVALID_PARTITIONS, POLICY_VIOLATION (more than 10,000
partitions), INVALID_REPLICATION_FACTOR, INVALID_CONFIG, INVALID_REQUEST (named twice), KAFKA_STORAGE_ERROR (a full
disk), THROTTLING_QUOTA_EXCEEDED (from version 6 on).
`validate_only` checks and makes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ottla.broker import topic_configs
from ottla.broker.api.configs import entries
from ottla.broker.api.topics import EXCESSIVE_PARTITIONS, PARTITIONS_PER_REQUEST_MAX
from ottla.broker.broker import Broker
from ottla.broker.catalog import collide, name_fault
from ottla.broker.connection import Call
from ottla.broker.security.mutations import refusal
from ottla.broker.topic_configs import TopicConfig
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.create_topics import CREATE_TOPICS
from ottla.broker.wire.schema import Message

API = CREATE_TOPICS
TOO_MANY = (
    "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because "
    "only 1 broker(s) are registered."
)


def handle(broker: Broker, call: Call) -> None:
    named = Counter(wanted["name"] for wanted in call.body["topics"])
    refuses = broker.quotas.mutations(call)
    answers: list[Message] = []
    for wanted in call.body["topics"]:
        if named[wanted["name"]] > 1:
            answers.append(_refusal(wanted, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
        else:
            answers.append(_create(broker, wanted, call.body["validate_only"], refuses))
    broker.durable(broker.catalog.journal, lambda: call.reply({"topics": answers}))


def _refusal(wanted: Message, code: ErrorCode, message: str) -> Message:
    return {"name": wanted["name"], "error_code": code, "error_message": message}


def _create(broker: Broker, wanted: Message, validate_only: bool, refuses: Callable[[int], bool]) -> Message:
    name = wanted["name"]
    given = [(config["name"], config["value"]) for config in wanted["configs"]]
    partitions = wanted["num_partitions"]
    if wanted["assignments"]:
        partitions = len(wanted["assignments"])
    elif partitions == -1:
        partitions = broker.config.partitions
    fault = name_fault(name)
    if fault:
        return _refusal(wanted, ErrorCode.INVALID_TOPIC_EXCEPTION, fault)
    if name in broker.catalog.topics:
        return _refusal(wanted, ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    alike = next((other for other in broker.catalog.topics if collide(name, other)), None)
    if alike is not None:
        message = f"Topic '{name}' collides with existing topics: {alike}"
        return _refusal(wanted, ErrorCode.INVALID_TOPIC_EXCEPTION, message)
    if partitions < 1:
        return _refusal(wanted, ErrorCode.INVALID_PARTITIONS, "Number of partitions must be larger than 0.")
    if partitions > PARTITIONS_PER_REQUEST_MAX:
        return _refusal(wanted, ErrorCode.POLICY_VIOLATION, EXCESSIVE_PARTITIONS)
    if wanted["replication_factor"] < 1 and wanted["replication_factor"] != -1:
        message = "Replication factor must be larger than 0, or -1 to use the default value."
        return _refusal(wanted, ErrorCode.INVALID_REPLICATION_FACTOR, message)
    if wanted["replication_factor"] > 1 and not broker.config.any_replication_factor:
        return _refusal(wanted, ErrorCode.INVALID_REPLICATION_FACTOR, TOO_MANY % ((wanted["replication_factor"],) * 2))
    fault = topic_configs.faults(given)
    if fault:
        return _refusal(wanted, ErrorCode.INVALID_CONFIG, fault)
    if refuses(partitions):
        return {"name": name} | refusal()
    settings = {key: value for key, value in given if value is not None}
    answer: Message = {"name": name, "num_partitions": partitions, "replication_factor": 1}
    if validate_only:
        config = TopicConfig(settings, broker.catalog.defaults)
    else:
        try:
            topic = broker.catalog.create(name, partitions, settings)
        except OSError as error:
            return _refusal(wanted, ErrorCode.KAFKA_STORAGE_ERROR, f"it could not be written down: {error.strerror}")
        answer["topic_id"] = topic.id
        config = topic.config
    answer["configs"] = entries(broker.catalog, config)
    return answer
