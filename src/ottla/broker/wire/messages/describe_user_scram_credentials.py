"""DescribeUserScramCredentials."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

DESCRIBE_USER_SCRAM_CREDENTIALS = Api(
    key=50,
    name="DescribeUserScramCredentials",
    versions=(0, 0),
    flexible=0,
    request="""
users []?
    name string
""",
    response="""
throttle_time_ms int32
error_code int16
error_message string?
results []
    user string
    error_code int16
    error_message string?
    credential_infos []
        mechanism int8
        iterations int32
""",
)
