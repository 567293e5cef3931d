"""DescribeTopicPartitions."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_TOPIC_PARTITIONS = Api(
    key=75,
    name="DescribeTopicPartitions",
    versions=(0, 0),
    flexible=0,
    request="""
topics []
    name string
response_partition_limit int32 =2000
cursor {}?
    topic_name string
    partition_index int32
""",
    response="""
throttle_time_ms int32
topics []
    error_code int16
    name string?
    topic_id uuid
    is_internal bool
    partitions []
        error_code int16
        partition_index int32
        leader_id int32
        leader_epoch int32 =-1
        replica_nodes []int32
        isr_nodes []int32
        eligible_leader_replicas []int32?
        last_known_elr []int32?
        offline_replicas []int32
    topic_authorized_operations int32 =-2147483648
next_cursor {}?
    topic_name string
    partition_index int32
""",
)
