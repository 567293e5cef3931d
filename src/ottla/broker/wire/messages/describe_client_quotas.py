"""DescribeClientQuotas."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_CLIENT_QUOTAS = Api(
    key=48,
    name="DescribeClientQuotas",
    versions=(0, 1),
    flexible=1,
    request="""
components []
    entity_type string
    match_type int8
    match string?
strict bool
""",
    response="""
throttle_time_ms int32
error_code int16
error_message string?
entries []?
    entity []
        entity_type string
        entity_name string?
    values []
        key string
        value float64
""",
)
