"""IncrementalAlterConfigs (44), versions 0 to 1: sets, deletes, appends to or subtracts from settings of a topic.

Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST (a setting named twice; the broker's own settings).
"""

from __future__ import annotations

from ottla.broker import topic_configs
from ottla.broker.api.altering import Refusal, alter_topics
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
    alter_topics(broker, call, _changed)


def _changed(topic: Topic, wanted: Message) -> dict[str, str]:
    names = [config["name"] for config in wanted["configs"]]
    if len(set(names)) < len(names):
        raise Refusal(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    changed = dict(topic.config.values)
    for config in wanted["configs"]:
        fault = _change(topic, changed, config["name"], config["config_operation"], config["value"])
        if fault:
            raise Refusal(ErrorCode.INVALID_CONFIG, fault)
    return changed


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
