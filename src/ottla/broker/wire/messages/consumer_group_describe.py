"""ConsumerGroupDescribe."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

CONSUMER_GROUP_DESCRIBE = Api(
    key=69,
    name="ConsumerGroupDescribe",
    versions=(0, 1),
    flexible=0,
    request="""
group_ids []string
include_authorized_operations bool
""",
    response="""
throttle_time_ms int32
groups []
    error_code int16
    error_message string?
    group_id string
    group_state string
    group_epoch int32
    assignment_epoch int32
    assignor_name string
    members []
        member_id string
        instance_id string?
        rack_id string?
        member_epoch int32
        client_id string
        client_host string
        subscribed_topic_names []string
        subscribed_topic_regex string?
        assignment {}
            topic_partitions []
                topic_id uuid
                topic_name string
                partitions []int32
        target_assignment {}
            topic_partitions []
                topic_id uuid
                topic_name string
                partitions []int32
        member_type int8 1+ =-1
    authorized_operations int32 =-2147483648
""",
)
