"""The guards of all APIs, by key."""

from __future__ import annotations

from collections.abc import Callable

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.guards import admin, groups, metadata, topics, transactions
from ottla.broker.guards.asking import Guard, open_to_all
from ottla.broker.security.resources import Operation
from ottla.broker.wire.schema import Api, Message

GUARDS: dict[str, Guard] = {
    "Produce": topics.produce,
    "Fetch": topics.fetch,
    "ListOffsets": topics.list_offsets,
    "Metadata": metadata.metadata,
    "OffsetCommit": groups.offset_commit,
    "OffsetFetch": groups.offset_fetch,
    "FindCoordinator": groups.find_coordinator,
    "JoinGroup": groups.join,
    "Heartbeat": groups.simple,
    "LeaveGroup": groups.simple,
    "SyncGroup": groups.simple,
    "DescribeGroups": groups.describe_groups,
    "ListGroups": groups.list_groups,
    "SaslHandshake": open_to_all,
    "ApiVersions": open_to_all,
    "CreateTopics": topics.create_topics,
    "DeleteTopics": topics.delete_topics,
    "DeleteRecords": topics.delete_records,
    "InitProducerId": transactions.init_producer_id,
    "OffsetForLeaderEpoch": topics.offset_for_leader_epoch,
    "AddPartitionsToTxn": transactions.add_partitions,
    "AddOffsetsToTxn": transactions.add_offsets,
    "EndTxn": transactions.end,
    "WriteTxnMarkers": transactions.write_markers,
    "TxnOffsetCommit": groups.txn_offset_commit,
    "DescribeAcls": open_to_all,  # these three ask for themselves: without an authorizer they have another answer
    "CreateAcls": open_to_all,
    "DeleteAcls": open_to_all,
    "DescribeConfigs": admin.settings(Operation.DESCRIBE_CONFIGS, "results"),
    "AlterConfigs": admin.settings(Operation.ALTER_CONFIGS, "responses"),
    "DescribeLogDirs": admin.cluster(Operation.DESCRIBE),
    "SaslAuthenticate": open_to_all,
    "CreatePartitions": topics.create_partitions,
    "DeleteGroups": groups.delete_groups,
    "ElectLeaders": admin.cluster(Operation.ALTER, admin.election_refusal),
    "IncrementalAlterConfigs": admin.settings(Operation.ALTER_CONFIGS, "responses"),
    "AlterPartitionReassignments": admin.cluster(Operation.ALTER),
    "ListPartitionReassignments": admin.cluster(Operation.DESCRIBE),
    "OffsetDelete": groups.offset_delete,
    "DescribeClientQuotas": admin.cluster(Operation.DESCRIBE_CONFIGS),
    "AlterClientQuotas": admin.cluster(Operation.ALTER_CONFIGS, admin.quota_refusal),
    "DescribeUserScramCredentials": open_to_all,
    "AlterUserScramCredentials": open_to_all,
    "DescribeQuorum": admin.cluster(Operation.DESCRIBE),
    "UpdateFeatures": admin.cluster(Operation.ALTER),
    "DescribeCluster": metadata.describe_cluster,
    "DescribeProducers": topics.describe_producers,
    "UnregisterBroker": admin.cluster(Operation.ALTER),
    "DescribeTransactions": transactions.describe,
    "ListTransactions": transactions.list_all,
    "ConsumerGroupHeartbeat": groups.consumer_heartbeat,
    "ConsumerGroupDescribe": groups.describe_consumer_groups,
    "ListConfigResources": admin.cluster(Operation.DESCRIBE_CONFIGS),
    "DescribeTopicPartitions": metadata.describe_topic_partitions,
}

Handler = Callable[[Broker, Call], "Message | None"]
Handlers = dict[int, tuple[Api, Handler]]


class Unguarded(Exception):
    """An API that nobody has said who may use: where there is an authorizer, nobody may."""


def guarded(handlers: Handlers) -> Handlers:
    """The handlers behind their guards."""
    return {key: (api, _behind(api, handle)) for key, (api, handle) in handlers.items()}


def _behind(api: Api, handle: Handler) -> Handler:
    guard = GUARDS.get(api.name)

    def run(broker: Broker, call: Call) -> Message | None:
        if guard is None:
            raise Unguarded(f"{api.name} has no guard (broker/guards/table.py)")
        before = call.amend
        refusal = guard(broker, call)
        if refusal is None:
            return handle(broker, call)
        call.amend = before  # what the guard had in mind for the handler's reply
        return refusal

    return run
