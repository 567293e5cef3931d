"""The handlers of all APIs, by key.

A handler gets the broker and the call. It gives the reply, or None if the reply comes later (`call.reply`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from ottla.broker.api import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    alter_configs,
    alter_user_scram_credentials,
    api_versions,
    consumer_group_describe,
    consumer_group_heartbeat,
    create_acls,
    create_partitions,
    create_topics,
    delete_acls,
    delete_groups,
    delete_records,
    delete_topics,
    describe_acls,
    describe_cluster,
    describe_configs,
    describe_groups,
    describe_log_dirs,
    describe_producers,
    describe_topic_partitions,
    describe_transactions,
    describe_user_scram_credentials,
    end_txn,
    fetch,
    find_coordinator,
    heartbeat,
    incremental_alter_configs,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    list_transactions,
    metadata,
    offset_commit,
    offset_delete,
    offset_fetch,
    offset_for_leader_epoch,
    produce,
    sasl_authenticate,
    sasl_handshake,
    sync_group,
    txn_offset_commit,
    write_txn_markers,
)
from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.schema import Api, Message

Handler = Callable[[Broker, Call], "Message | None"]

_MODULES: tuple[ModuleType, ...] = (
    produce,
    fetch,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    find_coordinator,
    join_group,
    heartbeat,
    leave_group,
    sync_group,
    describe_groups,
    list_groups,
    api_versions,
    create_topics,
    delete_topics,
    delete_records,
    init_producer_id,
    offset_for_leader_epoch,
    describe_configs,
    alter_configs,
    describe_log_dirs,
    create_partitions,
    delete_groups,
    incremental_alter_configs,
    offset_delete,
    describe_cluster,
    consumer_group_heartbeat,
    consumer_group_describe,
    describe_topic_partitions,
    sasl_handshake,
    sasl_authenticate,
    create_acls,
    describe_acls,
    delete_acls,
    describe_user_scram_credentials,
    alter_user_scram_credentials,
    add_partitions_to_txn,
    add_offsets_to_txn,
    end_txn,
    write_txn_markers,
    txn_offset_commit,
    describe_producers,
    describe_transactions,
    list_transactions,
)

HANDLERS: dict[int, tuple[Api, Handler]] = {module.API.key: (module.API, module.handle) for module in _MODULES}
api_versions.SERVED.extend(api for api, _ in HANDLERS.values())
