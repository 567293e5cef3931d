"""DescribeConfigs (32), versions 0 to 4: settings of topics (resource type 2), the broker (4) and groups (32).

Synonyms and documentation where asked for. Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST (other types or nodes).
"""

from __future__ import annotations

from ottla.broker.api import group_settings
from ottla.broker.api.configs import broker_entries, entries
from ottla.broker.api.group_settings import GROUP_RESOURCE
from ottla.broker.api.topics import BROKER_RESOURCE, TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.broker.wire.schema import Message

API = DESCRIBE_CONFIGS


def handle(broker: Broker, call: Call) -> Message:
    return {"results": [_describe(broker, call, wanted) for wanted in call.body["resources"]]}


def _describe(broker: Broker, call: Call, wanted: Message) -> Message:
    kind, name = wanted["resource_type"], wanted["resource_name"]
    answer: Message = {"resource_type": kind, "resource_name": name, "configs": []}
    names = wanted["configuration_keys"]
    if kind == TOPIC_RESOURCE:
        topic = broker.catalog.topics.get(name)
        if topic is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            return answer | {"error_code": code, "error_message": f"The topic '{name}' does not exist."}
        answer["configs"] = entries(topic.config, names, documented=call.body["include_documentation"])
    elif kind == BROKER_RESOURCE and name in ("", str(broker.config.node_id)):
        answer["configs"] = broker_entries(broker.config, names) if name else []
    elif kind == GROUP_RESOURCE:
        try:
            documented = call.body["include_documentation"]
            answer["configs"] = group_settings.entries(broker, name, names, documented=documented)
        except Refused as refused:
            return answer | {"error_code": refused.code, "error_message": str(refused)}
    else:
        message = f"Unexpected resource type {kind} or name {name!r}; this is broker {broker.config.node_id}."
        return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
    if not call.body["include_synonyms"]:
        for entry in answer["configs"]:
            entry.pop("synonyms", None)
    return answer
