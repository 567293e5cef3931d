"""OffsetDelete."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

OFFSET_DELETE = Api(
    key=47,
    name="OffsetDelete",
    versions=(0, 0),
    flexible=None,
    request="""
group_id string
topics []
    name string
    partitions []
        partition_index int32
""",
    response="""
error_code int16
throttle_time_ms int32
topics []
    name string
    partitions []
        partition_index int32
        error_code int16
""",
)
