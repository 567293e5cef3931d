"""SyncGroup."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

SYNC_GROUP = Api(
    key=14,
    name="SyncGroup",
    versions=(0, 5),
    flexible=4,
    request="""
group_id string
generation_id int32
member_id string
group_instance_id string? 3+
protocol_type string? 5+
protocol_name string? 5+
assignments []
    member_id string
    assignment bytes
""",
    response="""
throttle_time_ms int32 1+
error_code int16
protocol_type string? 5+
protocol_name string? 5+
assignment bytes
""",
)
