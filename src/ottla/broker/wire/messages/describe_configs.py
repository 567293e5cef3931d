"""DescribeConfigs."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_CONFIGS = Api(
    key=32,
    name="DescribeConfigs",
    versions=(0, 4),
    flexible=4,
    request="""
resources []
    resource_type int8
    resource_name string
    configuration_keys []string?
include_synonyms bool 1+
include_documentation bool 3+
""",
    response="""
throttle_time_ms int32
results []
    error_code int16
    error_message string?
    resource_type int8
    resource_name string
    configs []
        name string
        value string?
        read_only bool
        is_default bool 0
        config_source int8 1+ =-1
        is_sensitive bool
        synonyms [] 1+
            name string 1+
            value string? 1+
            source int8 1+
        config_type int8 3+
        documentation string? 3+
""",
)
