"""ListOffsets."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

LIST_OFFSETS = Api(
    key=2,
    name="ListOffsets",
    versions=(0, 10),
    flexible=6,
    request="""
replica_id int32
isolation_level int8 2+
topics []
    name string
    partitions []
        partition_index int32
        current_leader_epoch int32 4+ =-1
        timestamp int64
        max_num_offsets int32 0 =1
timeout_ms int32 10+
""",
    response="""
throttle_time_ms int32 2+
topics []
    name string
    partitions []
        partition_index int32
        error_code int16
        old_style_offsets []int64 0
        timestamp int64 1+ =-1
        offset int64 1+ =-1
        leader_epoch int32 4+ =-1
""",
)
