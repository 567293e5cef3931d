"""DeleteAcls."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DELETE_ACLS = Api(
    key=31,
    name="DeleteAcls",
    versions=(1, 3),
    flexible=2,
    request="""
filters []
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
filter_results []
    error_code int16
    error_message string?
    matching_acls []
        error_code int16
        error_message string?
        resource_type int8
        resource_name string
        pattern_type int8
        principal string
        host string
        operation int8
        permission_type int8
""",
)
