"""What Heroku's environment variables say about its Kafka.

KAFKA_URL, KAFKA_TRUSTED_CERT, KAFKA_CLIENT_CERT, KAFKA_CLIENT_CERT_KEY and, where topics are shared, KAFKA_PREFIX.
Other places set KAFKA_URL too, as `kafka://host:port` or as plain `host:port`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOURCE = "Heroku's variables"

_CERTIFICATES = {
    "KAFKA_TRUSTED_CERT": "ssl_ca",
    "KAFKA_CLIENT_CERT": "ssl_certificate",
    "KAFKA_CLIENT_CERT_KEY": "ssl_key",
}


def from_heroku(variables: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    """The settings that these variables stand for.

    Args:
        variables: The environment. Without a KAFKA_URL in it, nothing is taken: the others mean nothing alone.
        faults: Told of a KAFKA_URL that cannot be understood.
    """
    url = variables.get("KAFKA_URL", "").strip()
    if not url:
        return {}
    schemes, servers = set(), []
    for one in url.split(","):
        scheme, found, address = one.strip().rpartition("://")
        schemes.add(scheme.lower() if found else "kafka")
        servers.append(address.rstrip("/"))
    if len(schemes) > 1 or not schemes <= {"kafka", "kafka+ssl"} or not all(":" in one for one in servers):
        # The address itself is not told: it may hold a password.
        faults.append("KAFKA_URL: expected kafka+ssl://host:port or kafka://host:port, several with commas")
        return {}
    kafka: dict[str, Any] = {"bootstrap_servers": ",".join(servers)}
    if schemes == {"kafka+ssl"}:
        # The authority vouches for this one cluster, and its certificates are for other names than those of KAFKA_URL.
        kafka |= {"security_protocol": "ssl", "ssl_verify_hostname": False}
        kafka |= {setting: variables[name] for name, setting in _CERTIFICATES.items() if variables.get(name)}
    if variables.get("KAFKA_PREFIX"):
        kafka["prefix"] = variables["KAFKA_PREFIX"]
    return {"kafka": kafka}
