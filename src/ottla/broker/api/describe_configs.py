"""DescribeConfigs (32), versions 0 to 4: settings of topics (resource type 2), the broker (4) and groups (32).

Synonyms and documentation where asked for. Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST (other types or nodes).
"""

from __future__ import annotations

import re

from ottla.broker.api import group_settings
from ottla.broker.api.configs import broker_entries, cluster_entries, entries
from ottla.broker.api.group_settings import GROUP_RESOURCE
from ottla.broker.api.topics import BROKER_RESOURCE, TOPIC_RESOURCE
from ottla.broker.broker import Broker
from ottla.broker.catalog import name_fault
from ottla.broker.connection import Call
from ottla.broker.groups.refusal import Refused
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.describe_configs import DESCRIBE_CONFIGS
from ottla.broker.wire.schema import Message

API = DESCRIBE_CONFIGS
_WHOLE = re.compile(r"[+-]?[0-9]{1,10}")


def handle(broker: Broker, call: Call) -> Message:
    return {"results": [_describe(broker, call, wanted) for wanted in call.body["resources"]]}


def _describe(broker: Broker, call: Call, wanted: Message) -> Message:
    kind, name = wanted["resource_type"], wanted["resource_name"]
    answer: Message = {"resource_type": kind, "resource_name": name, "error_message": "", "configs": []}
    names = wanted["configuration_keys"] or None  # none named: all
    documented = call.body["include_documentation"]
    if kind == TOPIC_RESOURCE:
        fault = name_fault(name)
        if fault:
            return answer | {"error_code": ErrorCode.INVALID_TOPIC_EXCEPTION, "error_message": fault}
        topic = broker.catalog.topics.get(name)
        if topic is None:
            return answer | {"error_code": ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "error_message": ""}
        answer["configs"] = entries(broker.catalog, topic.config, names, documented=documented)
    elif kind == BROKER_RESOURCE:
        node = broker.catalog.node
        if name and not _WHOLE.fullmatch(name):
            message = f"Broker id must be an integer, but it is: {name}"
            return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
        if name and int(name) != int(node):
            message = f"Unexpected broker id, expected {node} or empty string, but received {name}"
            return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
        if name:
            answer["configs"] = broker_entries(broker.catalog, broker.config, names, documented=documented)
        else:
            answer["configs"] = cluster_entries(broker.catalog, names, documented=documented)
    elif kind == GROUP_RESOURCE:
        try:
            answer["configs"] = group_settings.entries(broker, name, names, documented=documented)
        except Refused as refused:
            return answer | {"error_code": refused.code, "error_message": str(refused)}
    else:
        message = f"Unsupported resource type: {kind}"
        return answer | {"error_code": ErrorCode.INVALID_REQUEST, "error_message": message}
    if not call.body["include_synonyms"]:
        for entry in answer["configs"]:
            entry.pop("synonyms", None)
    return answer
