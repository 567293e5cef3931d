"""DescribeGroups."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_GROUPS = Api(
    key=15,
    name="DescribeGroups",
    versions=(0, 6),
    flexible=5,
    request="""
groups []string
include_authorized_operations bool 3+
""",
    response="""
throttle_time_ms int32 1+
groups []
    error_code int16
    error_message string? 6+
    group_id string
    group_state string
    protocol_type string
    protocol_data string
    members []
        member_id string
        group_instance_id string? 4+
        client_id string
        client_host string
        member_metadata bytes
        member_assignment bytes
    authorized_operations int32 3+ =-2147483648
""",
)
