"""OffsetForLeaderEpoch."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

OFFSET_FOR_LEADER_EPOCH = Api(
    key=23,
    name="OffsetForLeaderEpoch",
    versions=(0, 4),
    flexible=4,
    request="""
replica_id int32 3+ =-2
topics []
    topic string
    partitions []
        partition int32
        current_leader_epoch int32 2+ =-1
        leader_epoch int32
""",
    response="""
throttle_time_ms int32 2+
topics []
    topic string
    partitions []
        error_code int16
        partition int32
        leader_epoch int32 1+ =-1
        end_offset int64 =-1
""",
)
