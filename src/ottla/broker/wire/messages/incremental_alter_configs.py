"""IncrementalAlterConfigs."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

INCREMENTAL_ALTER_CONFIGS = Api(
    key=44,
    name="IncrementalAlterConfigs",
    versions=(0, 1),
    flexible=1,
    request="""
resources []
    resource_type int8
    resource_name string
    configs []
        name string
        config_operation int8
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
