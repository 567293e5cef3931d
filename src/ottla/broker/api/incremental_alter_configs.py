"""IncrementalAlterConfigs (44), versions 0 to 1: sets, deletes, appends to or subtracts from settings of a topic.

Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST (a setting named twice; the broker's own settings).
"""

from __future__ import annotations

from ottla.broker import topic_configs
from ottla.broker.api.topics import TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.catalog import Topic
from ottla.broker.connection import Call
from ottla.broker.topic_configs import LIST, SETTINGS
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.incremental_alter_configs import INCREMENTAL_ALTER_CONFIGS
from ottla.broker.wire.schema import Message

API = INCREMENTAL_ALTER_CONFIGS
SET, DELETE, APPEND, SUBTRACT = range(4)


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
    names = [config["name"] for config in wanted["configs"]]
    if len(set(names)) < len(names):
        message = "Error due to duplicate config keys"
        return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
    changed = dict(topic.config.values)
    for config in wanted["configs"]:
        fault = _change(topic, changed, config["name"], config["config_operation"], config["value"])
        if fault:
            return answer | {"error_code": ErrorCode.INVALID_CONFIG, "error_message": fault}
    if not validate_only:
        broker.catalog.change(topic, settings=changed)
    return answer


def _change(topic: Topic, changed: dict[str, str], name: str, operation: int, value: str | None) -> str | None:
    """Makes one change; gives what is wrong with it, if anything."""
    if operation == DELETE and name in SETTINGS:
        changed.pop(name, None)
        return None
    if operation in (APPEND, SUBTRACT) and name in SETTINGS:
        if SETTINGS[name].kind != LIST:
            return f"Can't append or subtract to key {name} because its type is not LIST."
        words = [word for word in (changed.get(name) or topic.config.get(name)).split(",") if word]
        given = (value or "").split(",")
        if operation == APPEND:
            words += [word for word in given if word not in words]
        else:
            words = [word for word in words if word not in given]
        value = ",".join(words)
    fault = topic_configs.faults([(name, value)])
    if not fault and value is not None:
        changed[name] = value
    return fault
