"""AlterConfigs."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ALTER_CONFIGS = Api(
    key=33,
    name="AlterConfigs",
    versions=(0, 2),
    flexible=2,
    request="""
resources []
    resource_type int8
    resource_name string
    configs []
        name string
        value string?
validate_only bool
""",
    response="""
throttle_time_ms int32
responses []
    error_code int16
    error_message string?
    resource_type int8
    resource_name string
""",
)
