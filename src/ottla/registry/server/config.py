"""How a registry is configured."""

from __future__ import annotations

import msgspec


class RegistryConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the registry listens and where it keeps its schemas.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        bootstrap_servers: The brokers, `host:port`, several with commas.
        topic: The topic that holds the schemas; created, compacted and with one partition, where it is missing.
        replication: Its replication factor; -1 lets the broker choose.
        properties: librdkafka properties (`{"security.protocol": "SASL_SSL"}`).
        advertised_url: Where other registries on the same topic reach this one. None: what it listens on; a host that
            stands for every address (0.0.0.0) needs one that others can use.
        read_only: Refuse every change, as a replica near its readers may.
        accounts: A TOML file with users and tokens (see `access`); None lets everyone in.
        tls_certificate, tls_key: PEM files; with them it speaks HTTPS.
        tls_clients: A PEM file with the authorities whose client certificates are asked for; None asks for none.
        tls_authorities: A PEM file with the authorities to trust when other registries are asked; None: the system's.
        append_timeout_s: How long a write may wait for Kafka before it is answered with 50002. Below the usual 5 s
            of clients, so that they see the reason and not a timeout of their own.
    """

    host: str = "127.0.0.1"
    port: int = 8081
    bootstrap_servers: str = "127.0.0.1:9092"
    topic: str = "_schemas"
    replication: int = -1
    properties: dict[str, str | int | float | bool] = {}
    append_timeout_s: float = 4.0
    advertised_url: str | None = None
    read_only: bool = False
    accounts: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_clients: str | None = None
    tls_authorities: str | None = None
