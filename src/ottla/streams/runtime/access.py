"""Who may ask for state over HTTP: everybody with the token; without one, only this machine."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import Request


def bearer(token: str | None) -> dict[str, str]:
    """The headers that somebody with the token sends."""
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def refusal(request: Request, token: str | None) -> str | None:
    """Why a request is not answered; None if it is.

    Args:
        token: `streams.query_token`.
    """
    if token is not None:
        given = request.headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return None
        return "state is for those who know streams.query_token: send `Authorization: Bearer TOKEN`"
    if _is_here(request):
        return None
    return (
        "state is shown to this machine only: set streams.query_token, the same for all instances, and other machines "
        "are answered that send it"
    )


def _is_here(request: Request) -> bool:
    if request.client is None:
        return True  # a socket of the file system
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
