"""TxnOffsetCommit."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

TXN_OFFSET_COMMIT = Api(
    key=28,
    name="TxnOffsetCommit",
    versions=(0, 5),
    flexible=3,
    request="""
transactional_id string
group_id string
producer_id int64
producer_epoch int16
generation_id int32 3+ =-1
member_id string 3+
group_instance_id string? 3+
topics []
    name string
    partitions []
        partition_index int32
        committed_offset int64
        committed_leader_epoch int32 2+ =-1
        committed_metadata string?
""",
    response="""
throttle_time_ms int32
topics []
    name string
    partitions []
        partition_index int32
        error_code int16
""",
)
