"""IncrementalAlterConfigs (44), versions 0 to 1: sets, deletes, appends to or subtracts from settings of a topic or
broker.

Resource type 2 is a topic, 4 a broker by its id or, without name, all of them; 32 a consumer group. A broker's
settings that Kafka reads at its start only are refused. Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG,
INVALID_REQUEST (a setting named twice or without value, another broker's id, a fixed setting), UNKNOWN_SERVER_ERROR
(an unknown operation).
"""

from __future__ import annotations

from ottla.broker.api.altering import APPEND, DELETE, SET, SUBTRACT, Refusal, Target, alter
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.setting_types import words
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.incremental_alter_configs import INCREMENTAL_ALTER_CONFIGS
from ottla.broker.wire.schema import Message

API = INCREMENTAL_ALTER_CONFIGS


def handle(broker: Broker, call: Call) -> None:
    alter(broker, call, _changed)


def _changed(target: Target, wanted: Message) -> dict[str, str]:
    changed = dict(target.values)
    for config in wanted["configs"]:
        _change(target, changed, config["name"], config["config_operation"], config["value"])
    return changed


def _change(target: Target, changed: dict[str, str], name: str, operation: int, value: str) -> None:
    """Makes one change. Raises Refusal."""
    if operation == DELETE:
        changed.pop(name, None)
        return
    if operation not in (SET, APPEND, SUBTRACT):
        raise Refusal(ErrorCode.UNKNOWN_SERVER_ERROR, f"Unknown operation {operation}")
    if operation != SET:
        value = _list_change(target, changed, name, operation, value)
    fault = target.fault(name, value)
    if fault:
        raise Refusal(target.code, fault)
    changed[name] = value


def _list_change(target: Target, changed: dict[str, str], name: str, operation: int, value: str) -> str:
    if not target.is_list(name):
        word = "APPEND" if operation == APPEND else "SUBTRACT"
        raise Refusal(ErrorCode.INVALID_CONFIG, f"Can't {word} to key {name} because its type is not LIST.")
    present = words(changed[name] if name in changed else target.in_force(name))
    given = words(value)
    if operation == APPEND:
        return ",".join(present + [word for word in given if word not in present])
    return ",".join(word for word in present if word not in given)
