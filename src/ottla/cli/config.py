"""`ottla config ...`: the settings in force, and where each comes from."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, meant

if TYPE_CHECKING:
    from ottla.settings import Given

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Show the settings in force and where they come from."
)


@app.command()
def show(
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting of this folder and environment, and which source it comes from. Secrets are hidden.

    JSON: {"settings": [{"name", "value", "source"}]}.
    """
    from ottla.cli.output import print_json, print_table
    from ottla.settings import hide

    rows = [
        {"name": name, "value": hide(name, given[-1].value), "source": given[-1].source}
        for name, given in _origins(bootstrap).items()
        if not changed or given[-1].source != "default"
    ]
    if as_json:
        print_json({"settings": rows})
    else:
        cells = [(row["name"], _text(row["value"]), row["source"]) for row in rows]
        print_table(["SETTING", "VALUE", "SOURCE"], cells, empty="every setting has its default")


@app.command()
def explain(
    setting: Annotated[str, typer.Argument(metavar="SETTING", help="Such as kafka.bootstrap_servers.")],
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Say what a setting means, what each source says of it, and which one won.

    JSON: {"name", "value", "source", "variable", "help", "sources": [{"source", "value"}]}, the winner last.
    """
    from ottla.cli.output import print_json
    from ottla.errors import ConfigurationError
    from ottla.settings import hide

    found = _origins(bootstrap)
    given = found.get(setting)
    if given is None:
        raise ConfigurationError(
            f"there is no setting {setting!r}{meant(setting, found)}; `ottla config show` lists them all"
        )
    sources = [{"source": one.source, "value": hide(setting, one.value)} for one in given]
    document = {
        "name": setting,
        "value": sources[-1]["value"],
        "source": sources[-1]["source"],
        "variable": variable(setting),
        "help": help_of(setting),
        "sources": sources,
    }
    if as_json:
        print_json(document)
        return
    print(f"{setting} = {_text(document['value'])}")
    print(f"  {document['help']}")
    print(f"  environment variable: {document['variable']}")
    for at, one in enumerate(sources, 1):
        print(f"  {one['source']}: {_text(one['value'])}{'  <- in force' if at == len(sources) else ''}")


def _origins(bootstrap: str | None) -> dict[str, list[Given]]:
    from ottla.settings import load_settings, origins

    overrides = {"kafka": {"bootstrap_servers": bootstrap}} if bootstrap is not None else None
    load_settings(overrides)  # says what is wrong with them, before anything is shown
    return origins(overrides)


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    section, properties, name = setting.partition(".properties.")
    if properties:
        return f"OTTLA_{section.upper()}__PROPERTIES__{name.upper().replace('.', '_')}"
    return "OTTLA_" + setting.upper().replace(".", "__")


def help_of(setting: str) -> str:
    """What the settings' documentation says of it."""
    import msgspec

    from ottla.settings import Settings

    if ".properties." in setting:
        return "A property of librdkafka, for every client."
    kind: Any = Settings
    *sections, name = setting.split(".")
    for section in sections:
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == section)
    text = inspect.getdoc(kind) or ""
    # "name: what it is", or several names with one text; the text goes on while lines are indented.
    entry = re.search(rf"^ +(?:\w+, )*{name}(?:, \w+)*: (.+(?:\n {{8,}}.+)*)", text, re.MULTILINE)
    return " ".join(entry.group(1).split()) if entry else ""


def _text(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
