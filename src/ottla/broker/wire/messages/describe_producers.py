"""DescribeProducers."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_PRODUCERS = Api(
    key=61,
    name="DescribeProducers",
    versions=(0, 0),
    flexible=0,
    request="""
topics []
    name string
    partition_indexes []int32
""",
    response="""
throttle_time_ms int32
topics []
    name string
    partitions []
        partition_index int32
        error_code int16
        error_message string?
        active_producers []
            producer_id int64
            producer_epoch int32
            last_sequence int32 =-1
            last_timestamp int64 =-1
            coordinator_epoch int32
            current_txn_start_offset int64 =-1
""",
)
