"""AlterPartitionReassignments."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ALTER_PARTITION_REASSIGNMENTS = Api(
    key=45,
    name="AlterPartitionReassignments",
    versions=(0, 1),
    flexible=0,
    request="""
timeout_ms int32 =60000
allow_replication_factor_change bool 1+ =true
topics []
    name string
    partitions []
        partition_index int32
        replicas []int32?
""",
    response="""
throttle_time_ms int32
allow_replication_factor_change bool 1+ =true
error_code int16
error_message string?
responses []
    name string
    partitions []
        partition_index int32
        error_code int16
        error_message string?
""",
)
