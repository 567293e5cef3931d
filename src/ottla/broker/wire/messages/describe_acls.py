"""DescribeAcls."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_ACLS = Api(
    key=29,
    name="DescribeAcls",
    versions=(1, 3),
    flexible=2,
    request="""
resource_type_filter int8
resource_name_filter string?
pattern_type_filter int8
principal_filter string?
host_filter string?
operation int8
permission_type int8
""",
    response="""
throttle_time_ms int32
error_code int16
error_message string?
resources []
    resource_type int8
    resource_name string
    pattern_type int8
    acls []
        principal string
        host string
        operation int8
        permission_type int8
""",
)
