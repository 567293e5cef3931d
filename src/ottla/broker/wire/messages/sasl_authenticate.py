"""SaslAuthenticate."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

SASL_AUTHENTICATE = Api(
    key=36,
    name="SaslAuthenticate",
    versions=(0, 2),
    flexible=2,
    request="""
auth_bytes bytes
""",
    response="""
error_code int16
error_message string?
auth_bytes bytes
session_lifetime_ms int64 1+
""",
)
