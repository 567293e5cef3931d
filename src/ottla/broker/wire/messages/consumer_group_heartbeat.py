"""ConsumerGroupHeartbeat."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

CONSUMER_GROUP_HEARTBEAT = Api(
    key=68,
    name="ConsumerGroupHeartbeat",
    versions=(0, 1),
    flexible=0,
    request="""
group_id string
member_id string
member_epoch int32
instance_id string?
rack_id string?
rebalance_timeout_ms int32 =-1
subscribed_topic_names []string?
subscribed_topic_regex string? 1+
server_assignor string?
topic_partitions []?
    topic_id uuid
    partitions []int32
""",
    response="""
throttle_time_ms int32
error_code int16
error_message string?
member_id string?
member_epoch int32
heartbeat_interval_ms int32
assignment {}?
    topic_partitions []
        topic_id uuid
        partitions []int32
""",
)
