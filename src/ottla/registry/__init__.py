"""Schemas: the registry's client, Avro's compatibility rules, and a registry server that speaks Confluent's REST API.

Reading path: `avro_schema` (what a schema is), `avro_parser` (from text), `avro_canonical` (to text),
`avro_compatibility` (may this reader read that writer), `compatibility` (the modes), `client`, then `server/`.
"""

from .client import RegistryClient

__all__ = ["RegistryClient"]
