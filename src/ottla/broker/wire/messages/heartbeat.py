"""Heartbeat."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

HEARTBEAT = Api(
    key=12,
    name="Heartbeat",
    versions=(0, 4),
    flexible=4,
    request="""
group_id string
generation_id int32
member_id string
group_instance_id string? 3+
""",
    response="""
throttle_time_ms int32 1+
error_code int16
""",
)
