"""What AlterConfigs and IncrementalAlterConfigs share: finding the topic, storing its settings, answering."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.api import group_settings
from ottla.broker.api.group_settings import GROUP_RESOURCE
from ottla.broker.api.topics import TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.catalog import Topic
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message


class Refusal(Exception):
    """The settings cannot be changed as asked. `code` is Kafka's answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


NewSettings = Callable[[Topic, Message], dict[str, str]]


def alter_topics(broker: Broker, call: Call, new_settings: NewSettings) -> None:
    """Changes the settings of each topic the request names, and answers once that is durable.

    Args:
        broker: The broker.
        call: The request.
        new_settings: Given a topic and what is wanted of it, its settings from now on. Raises Refusal.
    """
    answers = [_alter(broker, wanted, call.body["validate_only"], new_settings) for wanted in call.body["resources"]]

    def done() -> None:
        call.reply({"responses": answers})

    if any(wanted["resource_type"] == GROUP_RESOURCE for wanted in call.body["resources"]):
        broker.durable(broker.catalog.journal, lambda: broker.coordinator.flush(done))
    else:
        broker.durable(broker.catalog.journal, done)


def _alter(broker: Broker, wanted: Message, validate_only: bool, new_settings: NewSettings) -> Message:
    name = wanted["resource_name"]
    answer: Message = {"resource_type": wanted["resource_type"], "resource_name": name}
    try:
        if wanted["resource_type"] == GROUP_RESOURCE:
            group_settings.alter(broker, wanted, validate_only=validate_only)
            return answer
        if wanted["resource_type"] != TOPIC_RESOURCE:
            raise Refusal(ErrorCode.INVALID_REQUEST, "Only topic settings can be changed while the broker runs.")
        topic = broker.catalog.topics.get(name)
        if topic is None:
            raise Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
        settings = new_settings(topic, wanted)
    except Refused as refused:
        return answer | {"error_code": refused.code, "error_message": str(refused)}
    except Refusal as refusal:
        return answer | {"error_code": refusal.code, "error_message": str(refusal)}
    if not validate_only:
        broker.catalog.change(topic, settings=settings)
    return answer
