"""Python classes from a schema: `ottla schema codegen`.

Reading path: `model` (what is to be written), `avro`, `json_schema` and `protobuf` (from a schema to the model),
`render` (from the model to Python). What is written is typed, passes mypy, and needs only Ottla.
"""

from __future__ import annotations

from ...serde.registry import Registered
from .model import Module, Style
from .render import render

__all__ = ["Style", "generate"]


def generate(schema: Registered, style: Style) -> str:
    """Python source with a class for every record and enum of a schema.

    Raises:
        InvalidSchema: It is no schema, or it has something that no class can have; says where.
        MissingExtra: What reads this type of schema is not installed.
    """
    module: Module
    if schema.kind == "AVRO":
        from .avro import module_of_avro

        module = module_of_avro(schema)
    elif schema.kind == "JSON":
        from .json_schema import module_of_json

        module = module_of_json(schema)
    else:
        from .protobuf import module_of_protobuf

        module = module_of_protobuf(schema)
    return render(module, style)
