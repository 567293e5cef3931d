"""What AlterConfigs and IncrementalAlterConfigs share: finding whose settings they are, storing them, answering."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ottla.broker import broker_configs
from ottla.broker.api import group_settings
from ottla.broker.api.group_settings import GROUP_RESOURCE
from ottla.broker.api.topics import BROKER_RESOURCE, TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.setting_types import LIST
from ottla.broker.topic_configs import SETTINGS, lag_fault, setting_fault
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.schema import Message

SET, DELETE, APPEND, SUBTRACT = range(4)


class Refusal(Exception):
    """The settings cannot be changed as asked. `code` is Kafka's answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        super().__init__(message)


class Target(NamedTuple):
    """Whose settings are changed.

    Args:
        values: What is set now.
        in_force: Gives the value in force of a setting of type list, for adding to it.
        is_list: Whether a setting is of that type.
        fault: What is wrong with a value, in words; None if nothing is.
        code: The answer to a wrong value.
    """

    values: dict[str, str]
    in_force: Callable[[str], str]
    is_list: Callable[[str], bool]
    fault: Callable[[str, str | None], str | None]
    code: ErrorCode


NewSettings = Callable[[Target, Message], dict[str, str]]


def alter(broker: Broker, call: Call, new_settings: NewSettings) -> None:
    """Changes the settings that a request names, and answers once that is durable.

    Args:
        broker: The broker.
        call: The request.
        new_settings: Given whose settings they are and what is wanted, the settings from now on. Raises Refusal.
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
        names = [config["name"] for config in wanted["configs"]]
        if len(set(names)) < len(names):
            raise Refusal(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
        for config in wanted["configs"]:
            if config["value"] is None and config.get("config_operation") != DELETE:
                raise Refusal(ErrorCode.INVALID_REQUEST, f"Null value not supported for : {config['name']}")
        if wanted["resource_type"] == TOPIC_RESOURCE:
            _alter_topic(broker, wanted, validate_only, new_settings)
        elif wanted["resource_type"] == BROKER_RESOURCE:
            _alter_broker(broker, wanted, validate_only, new_settings)
        else:
            raise Refusal(ErrorCode.INVALID_REQUEST, f"Unknown resource type {wanted['resource_type']}")
    except Refused as refused:
        return answer | {"error_code": refused.code, "error_message": str(refused)}
    except Refusal as refusal:
        return answer | {"error_code": refusal.code, "error_message": str(refusal)}
    except OSError as error:
        return answer | {"error_code": ErrorCode.KAFKA_STORAGE_ERROR, "error_message": str(error.strerror)}
    return answer


def _alter_topic(broker: Broker, wanted: Message, validate_only: bool, new_settings: NewSettings) -> None:
    name = wanted["resource_name"]
    if not name:
        raise Refusal(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
    topic = broker.catalog.topics.get(name)
    if topic is None:
        raise Refusal(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
    target = Target(
        values=dict(topic.config.values),
        in_force=topic.config.get,
        is_list=lambda one: one in SETTINGS and SETTINGS[one].kind == LIST,
        fault=setting_fault,
        code=ErrorCode.INVALID_CONFIG,
    )
    settings = new_settings(target, wanted)
    fault = lag_fault(settings, broker.catalog.defaults)
    if fault:
        raise Refusal(ErrorCode.INVALID_CONFIG, fault)
    if not validate_only:
        broker.catalog.change(topic, settings=settings)


def _alter_broker(broker: Broker, wanted: Message, validate_only: bool, new_settings: NewSettings) -> None:
    name, node = wanted["resource_name"], broker.catalog.node
    if name and not name.isdecimal():
        raise Refusal(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}")
    if name not in ("", node):
        raise Refusal(ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {node}, but received {name}")
    fixed = [config["name"] for config in wanted["configs"] if not broker_configs.is_dynamic(config["name"])]
    if fixed:
        message = f"Cannot update these configs dynamically: [{', '.join(fixed)}]"
        raise Refusal(ErrorCode.INVALID_REQUEST, message)
    values = dict(broker.catalog.broker_settings.get(name, {}))
    target = Target(
        values=values,
        in_force=lambda one: values.get(one, ""),
        is_list=lambda one: broker_configs.kind_of(one) == LIST,
        fault=lambda one, value: broker_configs.fault(one, value or ""),
        code=ErrorCode.INVALID_REQUEST,
    )
    settings = new_settings(target, wanted)
    if not validate_only:
        broker.catalog.change_broker(name, settings)
        broker.settings_changed()
