"""AlterClientQuotas."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ALTER_CLIENT_QUOTAS = Api(
    key=49,
    name="AlterClientQuotas",
    versions=(0, 1),
    flexible=1,
    request="""
entries []
    entity []
        entity_type string
        entity_name string?
    ops []
        key string
        value float64
        remove bool
validate_only bool
""",
    response="""
throttle_time_ms int32
entries []
    error_code int16
    error_message string?
    entity []
        entity_type string
        entity_name string?
""",
)
