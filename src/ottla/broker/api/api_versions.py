"""ApiVersions (18), versions 0 to 4: which APIs are served, in which versions.

An unknown version of this request is answered in version 0 with UNSUPPORTED_VERSION, so that the client can try a lower
one. Produce is advertised from version 0 although 3 is the first one served: older librdkafka would otherwise switch
compression off (KAFKA-18659; Apache Kafka 4 does the same). From version 3 features are advertised (KIP-584); version 3
leaves those out of the supported ones that may be off, as Kafka does for older clients.
"""

from __future__ import annotations

from ottla.broker.broker import Broker
from ottla.broker.connection import Call
from ottla.broker.wire.errors import ErrorCode
from ottla.broker.wire.messages.api_versions import API_VERSIONS
from ottla.broker.wire.schema import Api, Message

API = API_VERSIONS
PRODUCE_KEY = 0
OPTIONAL_FEATURES_SINCE = 4

# Kafka's names, and the level at which each is on.
FEATURES = {"group.version": 1, "transaction.version": 2}

SERVED: list[Api] = []  # filled by the package, which knows all of them


def handle(broker: Broker, call: Call) -> Message:
    supported = [{"name": name, "min_version": 0, "max_version": level} for name, level in FEATURES.items()]
    finalized = [
        {"name": name, "max_version_level": level, "min_version_level": level} for name, level in FEATURES.items()
    ]
    return {
        "error_code": ErrorCode.NONE,
        "api_keys": _ranges(),
        "supported_features": supported if call.version >= OPTIONAL_FEATURES_SINCE else [],
        "finalized_features_epoch": 0,
        "finalized_features": finalized,
    }


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
