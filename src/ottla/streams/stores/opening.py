"""From a store's spec and its bytes to the typed store that operators use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ottla.streams.serdes import Codecs
from ottla.streams.stores.base import BytesStore

if TYPE_CHECKING:
    from ottla.streams.topology.stores import StoreSpec


def typed_store(spec: StoreSpec, store: BytesStore, codecs: Codecs | None, topic: str) -> Any:
    """The typed store over an opened one.

    Args:
        topic: The changelog's physical name: what serdes are told the topic is.
    """
    key, value = spec.key.bind(codecs), spec.value.bind(codecs)
    match spec.kind:
        case "key-value":
            from ottla.streams.stores.key_value import KeyValueStore

            return KeyValueStore(store, key, value, topic)
        case "timestamped":
            from ottla.streams.stores.timestamped import TimestampedStore

            return TimestampedStore(store, key, value, topic)
        case "versioned":
            from ottla.streams.stores.versioned import VersionedStore

            return VersionedStore(store, key, value, topic, spec.retention_ms or 0, spec.segment_ms)
        case "window":
            from ottla.streams.stores.window import WindowStore

            return WindowStore(
                store, key, value, topic, spec.retention_ms or 0, spec.segment_ms, retain_duplicates=spec.duplicates
            )
        case "session":
            from ottla.streams.stores.session import SessionStore

            return SessionStore(store, key, value, topic, spec.retention_ms or 0, spec.segment_ms)
        case "buffer":
            return store
