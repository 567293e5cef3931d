"""SaslHandshake."""

from __future__ import annotations

from ottla.broker.wire.schema import Api

SASL_HANDSHAKE = Api(
    key=17,
    name="SaslHandshake",
    versions=(0, 1),
    flexible=None,
    request="""
mechanism string
""",
    response="""
error_code int16
mechanisms []string
""",
)
