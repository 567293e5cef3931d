"""CreatePartitions."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

CREATE_PARTITIONS = Api(
    key=37,
    name="CreatePartitions",
    versions=(0, 3),
    flexible=2,
    request="""
topics []
    name string
    count int32
    assignments []?
        broker_ids []int32
timeout_ms int32
validate_only bool
""",
    response="""
throttle_time_ms int32
results []
    name string
    error_code int16
    error_message string?
""",
)
