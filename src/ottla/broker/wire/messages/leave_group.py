"""LeaveGroup."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

LEAVE_GROUP = Api(
    key=13,
    name="LeaveGroup",
    versions=(0, 5),
    flexible=4,
    request="""
group_id string
member_id string 0-2
members [] 3+
    member_id string 3+
    group_instance_id string? 3+
    reason string? 5+
""",
    response="""
throttle_time_ms int32 1+
error_code int16
members [] 3+
    member_id string 3+
    group_instance_id string? 3+
    error_code int16 3+
""",
)
