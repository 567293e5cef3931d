"""AlterUserScramCredentials."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

ALTER_USER_SCRAM_CREDENTIALS = Api(
    key=51,
    name="AlterUserScramCredentials",
    versions=(0, 0),
    flexible=0,
    request="""
deletions []
    name string
    mechanism int8
upsertions []
    name string
    mechanism int8
    iterations int32
    salt bytes
    salted_password bytes
""",
    response="""
throttle_time_ms int32
results []
    user string
    error_code int16
    error_message string?
""",
)
