"""AlterConfigs (33), versions 0 to 2: replaces all settings of a topic. Superseded by IncrementalAlterConfigs.

Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST (the broker's own settings are fixed at its start).
"""

from __future__ import annotations

from ottla.broker import topic_configs
from ottla.broker.api.topics import TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.alter_configs import ALTER_CONFIGS
from ottla.broker.wire.schema import Message

API = ALTER_CONFIGS


def handle(broker: Broker, call: Call) -> None:
    answers = [_alter(broker, wanted, call.body["validate_only"]) for wanted in call.body["resources"]]
    broker.durable(broker.catalog.journal, lambda: call.reply({"responses": answers}))


def _alter(broker: Broker, wanted: Message, validate_only: bool) -> Message:
    kind, name = wanted["resource_type"], wanted["resource_name"]
    answer: Message = {"resource_type": kind, "resource_name": name}
    if kind != TOPIC_RESOURCE:
        message = "Only topic settings can be changed while the broker runs."
        return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
    topic = broker.catalog.topics.get(name)
    if topic is None:
        code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return answer | {"error_code": code, "error_message": f"The topic '{name}' does not exist."}
    given = [(config["name"], config["value"]) for config in wanted["configs"]]
    fault = topic_configs.faults(given)
    if fault:
        return answer | {"error_code": ErrorCode.INVALID_CONFIG, "error_message": fault}
    if not validate_only:
        broker.catalog.change(topic, settings={key: value for key, value in given if value is not None})
    return answer
