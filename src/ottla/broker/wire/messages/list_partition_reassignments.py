"""ListPartitionReassignments."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

LIST_PARTITION_REASSIGNMENTS = Api(
    key=46,
    name="ListPartitionReassignments",
    versions=(0, 0),
    flexible=0,
    request="""
timeout_ms int32 =60000
topics []?
    name string
    partition_indexes []int32
""",
    response="""
throttle_time_ms int32
error_code int16
error_message string?
topics []
    name string
    partitions []
        partition_index int32
        replicas []int32
        adding_replicas []int32
        removing_replicas []int32
""",
)
