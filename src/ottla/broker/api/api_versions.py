"""ApiVersions (18), versions 0 to 4: which APIs are served, in which versions.

An unknown version of this request is answered in version 0 with UNSUPPORTED_VERSION, so that the client can try a lower
one. Produce is advertised from version 0 although 3 is the first one served: older librdkafka would otherwise switch
compression off (KAFKA-18659; Apache Kafka 4 does the same). No features are advertised: there are no transactions and
no KIP-848 groups yet.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.api_versions import API_VERSIONS
from ottla.broker.wire.schema import Api, Message

API = API_VERSIONS
PRODUCE_KEY = 0

SERVED: list[Api] = []  # filled by the package, which knows all of them


def handle(broker: Broker, call: Call) -> Message:
    return {"error_code": ErrorCode.NONE, "api_keys": _ranges()}


def unsupported_version(call: Call) -> Message | None:
    """The answer to a version that is not served; None if the connection is to be closed instead."""
    if call.api is not API:
        return None
    call.version = 0
    own = [entry for entry in _ranges() if entry["api_key"] == API.key]
    return {"error_code": ErrorCode.UNSUPPORTED_VERSION, "api_keys": own}


def _ranges() -> list[Message]:
    return [
        {
            "api_key": api.key,
            "min_version": 0 if api.key == PRODUCE_KEY else api.versions[0],
            "max_version": api.versions[1],
        }
        for api in sorted(SERVED, key=lambda api: api.key)
    ]
