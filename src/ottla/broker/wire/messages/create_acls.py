"""CreateAcls."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

CREATE_ACLS = Api(
    key=30,
    name="CreateAcls",
    versions=(1, 3),
    flexible=2,
    request="""
creations []
    resource_type int8
    resource_name string
    resource_pattern_type int8
    principal string
    host string
    operation int8
    permission_type int8
""",
    response="""
throttle_time_ms int32
results []
    error_code int16
    error_message string?
""",
)
