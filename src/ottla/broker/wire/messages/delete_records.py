"""DeleteRecords."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DELETE_RECORDS = Api(
    key=21,
    name="DeleteRecords",
    versions=(0, 2),
    flexible=2,
    request="""
topics []
    name string
    partitions []
        partition_index int32
        offset int64
timeout_ms int32
""",
    response="""
throttle_time_ms int32
topics []
    name string
    partitions []
        partition_index int32
        low_watermark int64
        error_code int16
""",
)
