"""What is wrong with a schema, whatever its type."""

from __future__ import annotations

from ..errors import RegistryError


class InvalidSchema(RegistryError):
    """The text is not a schema of its type. The message says where in it and why."""


class MissingExtra(InvalidSchema):
    """The schema may be fine, but what reads it is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed here: pip install 'ottla[{extra}]'")
