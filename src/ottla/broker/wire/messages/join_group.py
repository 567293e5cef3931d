"""JoinGroup."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

JOIN_GROUP = Api(
    key=11,
    name="JoinGroup",
    versions=(0, 9),
    flexible=6,
    request="""
group_id string
session_timeout_ms int32
rebalance_timeout_ms int32 1+ =-1
member_id string
group_instance_id string? 5+
protocol_type string
protocols []
    name string
    metadata bytes
reason string? 8+
""",
    response="""
throttle_time_ms int32 2+
error_code int16
generation_id int32 =-1
protocol_type string? 7+
protocol_name string?
leader string
skip_assignment bool 9+
member_id string
members []
    member_id string
    group_instance_id string? 5+
    metadata bytes
""",
)
