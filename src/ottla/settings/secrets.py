"""Which settings are secret, and what is shown instead of them."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "(hidden)"
_SECRET = re.compile(
    r"password|passphrase|secret|token(?!\.endpoint)|basic_auth|basic\.auth|jaas|oauthbearer\.config|\bssl_key$|\.key\.pem$"
)
_HARMLESS = {
    # The name of a file; a key's text has lines.
    "ssl_key": re.compile(r"[^\n]{1,300}"),
    # The place of a function.
    "sasl_token": re.compile(r"[\w.]+:[\w.]+"),
}
# From the user's name to the last @: passwords may hold any of / : @.
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*:\S*(?=@)")


def hide(name: str, value: Any) -> Any:
    """The value of a setting, unless it is a secret; of an address with credentials, the address.

    Args:
        name: The setting's name, dotted or not (`"kafka.sasl_password"`).
        value: Its value. Of a table, each entry is looked at.
    """
    if value is None or value == "":
        return value
    if isinstance(value, dict):
        return {key: hide(f"{name}.{key}", one) for key, one in value.items()}
    if isinstance(value, str) and is_pem(value):
        return HIDDEN if "PRIVATE KEY" in value else "(PEM text)"
    if _SECRET.search(name.lower()):
        harmless = _HARMLESS.get(name.rpartition(".")[2])
        return value if harmless and isinstance(value, str) and harmless.fullmatch(value) else HIDDEN
    return _CREDENTIALS.sub(HIDDEN, value) if isinstance(value, str) else value


def is_pem(text: str) -> bool:
    """Whether it is PEM text, and not the name of a file."""
    return "-----BEGIN" in text
