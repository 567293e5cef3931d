"""The handlers of all APIs, by key.

A handler gets the broker and the call. It gives the reply, or None if the reply comes later (`call.reply`).

Each API `name` is `api/name.py` (`handle`) and `wire/messages/name.py` (its tables). The first is loaded with the first
request for it: all of them together are a quarter of the time and the memory of a start, and most brokers are asked for
a dozen.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ottla.broker.api import api_versions
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.schema import Api, Message

Handler = Callable[[Broker, Call], "Message | None"]

NAMES = (
    "produce",
    "fetch",
    "list_offsets",
    "metadata",
    "offset_commit",
    "offset_fetch",
    "find_coordinator",
    "join_group",
    "heartbeat",
    "leave_group",
    "sync_group",
    "describe_groups",
    "list_groups",
    "api_versions",
    "create_topics",
    "delete_topics",
    "delete_records",
    "init_producer_id",
    "offset_for_leader_epoch",
    "describe_configs",
    "alter_configs",
    "describe_log_dirs",
    "create_partitions",
    "delete_groups",
    "incremental_alter_configs",
    "offset_delete",
    "describe_cluster",
    "consumer_group_heartbeat",
    "consumer_group_describe",
    "describe_topic_partitions",
    "sasl_handshake",
    "sasl_authenticate",
    "create_acls",
    "describe_acls",
    "delete_acls",
    "describe_user_scram_credentials",
    "alter_user_scram_credentials",
    "describe_client_quotas",
    "alter_client_quotas",
    "add_partitions_to_txn",
    "add_offsets_to_txn",
    "end_txn",
    "write_txn_markers",
    "txn_offset_commit",
    "describe_producers",
    "describe_transactions",
    "list_transactions",
    "elect_leaders",
    "alter_partition_reassignments",
    "list_partition_reassignments",
    "describe_quorum",
)


def _api(name: str) -> Api:
    api: Api = getattr(import_module(f"ottla.broker.wire.messages.{name}"), name.upper())
    return api


def _handler(name: str) -> Handler:
    handle: Handler | None = None

    def loaded(broker: Broker, call: Call) -> Message | None:
        nonlocal handle
        if handle is None:
            handle = import_module(f"ottla.broker.api.{name}").handle
        return handle(broker, call)

    return loaded


HANDLERS: dict[int, tuple[Api, Handler]] = {api.key: (api, _handler(name)) for name in NAMES for api in (_api(name),)}
api_versions.SERVED.extend(api for api, _ in HANDLERS.values())
