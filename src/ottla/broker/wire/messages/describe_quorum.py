"""DescribeQuorum."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_QUORUM = Api(
    key=55,
    name="DescribeQuorum",
    versions=(0, 2),
    flexible=0,
    request="""
topics []
    topic_name string
    partitions []
        partition_index int32
""",
    response="""
error_code int16
error_message string? 2+
topics []
    topic_name string
    partitions []
        partition_index int32
        error_code int16
        error_message string? 2+
        leader_id int32
        leader_epoch int32
        high_watermark int64
        current_voters []
            replica_id int32
            replica_directory_id uuid 2+
            log_end_offset int64
            last_fetch_timestamp int64 1+ =-1
            last_caught_up_timestamp int64 1+ =-1
        observers []
            replica_id int32
            replica_directory_id uuid 2+
            log_end_offset int64
            last_fetch_timestamp int64 1+ =-1
            last_caught_up_timestamp int64 1+ =-1
nodes [] 2+
    node_id int32 2+
    listeners [] 2+
        name string 2+
        host string 2+
        port uint16 2+
""",
)
