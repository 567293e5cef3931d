"""`ottla schema ...`: what is registered, and whether the events in the code fit it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, RegistryUrl, settings_for

if TYPE_CHECKING:
    from ottla.registry.checking import Source, Verdict, Wanted
    from ottla.registry.client import RegistryClient
    from ottla.settings import Settings

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, show, compare, check and register schemas; write classes from them.",
)

Targets = Annotated[
    list[str],
    typer.Argument(metavar="TARGET...", help="Modules with events (shop.events), or MODULE:NAME of an App or a class."),
]
AppDir = Annotated[Path, typer.Option("--app-dir", help="The folder that contains the modules.")]
Files = Annotated[
    Path | None, typer.Option("--files", metavar="FOLDER", help="A folder of schema files instead of the registry.")
]
Mode = Annotated[str, typer.Option("--mode", help="The compatibility level of schema files.")]


@app.command("list")
def list_subjects(
    prefix: Annotated[str, typer.Option(help="Only subjects that begin with this.")] = "",
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the subjects with their latest version, schema type and compatibility level.

    JSON: {"subjects": [{"subject", "version", "id", "type", "level"}]}.
    """
    from ottla.cli.output import print_json, print_table

    client = _client(settings_for(None, registry_url))
    rows = []
    for subject in client.subjects():
        if subject.startswith(prefix):
            latest = client.version(subject)
            kind = latest.get("schemaType") or "AVRO"
            rows.append((subject, int(latest["version"]), int(latest["id"]), kind, client.level(subject)))
    if as_json:
        names = ("subject", "version", "id", "type", "level")
        print_json({"subjects": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        print_table(["SUBJECT", "VERSION", "ID", "TYPE", "LEVEL"], rows, empty="no subjects")


@app.command()
def show(
    subject: Annotated[str, typer.Argument(help="The subject.")],
    version: Annotated[str, typer.Option(help="A number, or latest.")] = "latest",
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print a subject's schema.

    JSON: what the registry says of the version: {"subject", "version", "id", "schemaType", "schema", ...}.
    """
    from ottla.cli.output import print_json
    from ottla.registry.checking import readable

    found = _client(settings_for(None, registry_url)).version(subject, version)
    if as_json:
        print_json(found)
    else:
        print(readable(found.get("schemaType") or "AVRO", found["schema"]), end="")


@app.command()
def diff(
    subject: Annotated[str, typer.Argument(help="The subject.")],
    old: Annotated[str, typer.Argument(help="A version; the one before the latest if none is given.")] = "",
    new: Annotated[str, typer.Argument(help="A version.")] = "latest",
    registry_url: RegistryUrl = None,
) -> None:
    """Show in which lines two versions differ, and who can read whose records."""
    from ottla.registry.checking import difference
    from ottla.registry.schema import parse

    client = _client(settings_for(None, registry_url))
    if not old:
        numbers = client.versions(subject)
        old = str(numbers[-2] if len(numbers) > 1 else numbers[-1])
    found = [client.version(subject, number) for number in (old, new)]
    schemas = [client.registered(int(one["id"])) for one in found]
    names = [f"version {one['version']}" for one in found]
    lines = difference(schemas[0], schemas[1], names[0], names[1])
    print("\n".join(lines) if lines else f"{names[0]} and {names[1]} say the same")
    parsed = [parse(one.kind, one.text, one.references, strict=False) for one in schemas]
    if schemas[0].kind != schemas[1].kind:
        print(f"\n{names[0]} is of type {schemas[0].kind}, {names[1]} of type {schemas[1].kind}")
        return
    for reader, writer in ((1, 0), (0, 1)):
        reasons = parsed[reader].incompatibilities(parsed[writer])
        verb = "cannot read" if reasons else "reads"
        print(f"\n{names[reader]} {verb} what {names[writer]} wrote{':' if reasons else ''}")
        for reason in reasons:
            print(f"  - {reason.sentence(names[reader], names[writer])}")


@app.command()
def check(
    targets: Targets,
    files: Files = None,
    mode: Mode = "BACKWARD",
    app_dir: AppDir = Path("."),
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check that the events in the code are compatible with what is registered. Ends with 1 if one is not.

    Each event is held against its subject's versions under the subject's compatibility level, or against schema files.
    Nothing is registered.

    JSON: {"events": [{"subject", "outcome", "level", "reasons": [...], "diff": [...]}], "ok"}.
    """
    from ottla.cli.output import print_json
    from ottla.registry.checking import verdict

    settings = settings_for(None, registry_url)
    source = _source(settings, files, mode)
    verdicts = [verdict(wanted, source) for wanted in _wanted(targets, app_dir, settings)]
    broken = [one for one in verdicts if one.outcome == "breaks"]
    if as_json:
        print_json({"events": [_document(one) for one in verdicts], "ok": not broken})
    else:
        for one in verdicts:
            _tell(one)
        print(f"\n{len(verdicts)} events checked, {len(broken)} would break readers or writers")
    if broken:
        raise typer.Exit(1)


@app.command()
def register(
    targets: Targets,
    files: Files = None,
    mode: Mode = "BACKWARD",
    app_dir: AppDir = Path("."),
    registry_url: RegistryUrl = None,
) -> None:
    """Register the schemas of the events in the code; with --files, write them into a folder.

    All are checked first: if one breaks its subject's compatibility, none is registered, and it ends with 1.
    """
    from ottla.registry.checking import verdict

    settings = settings_for(None, registry_url)
    source = _source(settings, files, mode)
    verdicts = [verdict(wanted, source) for wanted in _wanted(targets, app_dir, settings)]
    broken = [one for one in verdicts if one.outcome == "breaks"]
    for one in broken:
        _tell(one)
    if broken:
        print(f"\n{len(broken)} of {len(verdicts)} break compatibility: nothing was registered", file=sys.stderr)
        raise typer.Exit(1)
    for one in verdicts:
        print(f"{one.wanted.subject}: {source.register(one.wanted)}{' (there already)' * (one.outcome == 'same')}")


@app.command()
def codegen(
    source: Annotated[str, typer.Argument(help="A file (.avsc, .proto, .json), or a subject of the registry.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write; the terminal if not given.")] = None,
    style: Annotated[str, typer.Option(help="struct (msgspec.Struct) or dataclass.")] = "struct",
    topic: Annotated[str, typer.Option(help="Declare the main class as an event of this topic.")] = "",
    key: Annotated[str, typer.Option(help="The event's key field.")] = "",
    version: Annotated[str, typer.Option(help="The subject's version.")] = "latest",
    registry_url: RegistryUrl = None,
) -> None:
    """Write Python classes for a schema."""
    from ottla.registry.codegen import Style, generate
    from ottla.serde.registry import Registered

    kinds = {".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}
    path = Path(source)
    if path.suffix in kinds and path.is_file():
        schema = Registered(kinds[path.suffix], path.read_text("utf-8"))
    else:
        client = _client(settings_for(None, registry_url))
        schema = client.registered(int(client.version(source, version)["id"]))
    code = generate(schema, Style(kind=style, topic=topic or None, key=key or None, origin=source))
    if out is None:
        print(code, end="")
    else:
        out.write_text(code, "utf-8")


def _client(settings: Settings) -> RegistryClient:
    from ottla.registry.client import client_for

    return client_for(settings.registry)


def _source(settings: Settings, files: Path | None, mode: str) -> Source:
    from ottla.registry.checking import FolderSource, RegistrySource

    return RegistrySource(_client(settings)) if files is None else FolderSource(files, mode.upper())


def _wanted(targets: list[str], app_dir: Path, settings: Settings) -> list[Wanted]:
    from ottla.cli.locate import locate_events
    from ottla.registry.checking import wanted_of

    events = list(dict.fromkeys(event for target in targets for event in locate_events(target, app_dir)))
    serde = settings.serde
    return wanted_of([one.cls for one in events], [one.topic for one in events], serde.format, serde.subject_strategy)


def _document(one: Verdict) -> dict[str, Any]:
    return {
        "subject": one.wanted.subject,
        "outcome": one.outcome,
        "level": one.level,
        "reasons": [{"kind": v.reason.kind, "path": v.reason.path, "text": str(v)} for v in one.violations],
        "diff": one.diff,
    }


def _tell(one: Verdict) -> None:
    words = {"same": "unchanged", "new": "new", "compatible": "changed, compatible", "breaks": "BREAKS"}
    print(f"{one.wanted.subject}: {words[one.outcome]} ({one.level})")
    for line in one.diff:
        print(f"    {line}")
    for violation in one.violations:
        print(f"  ! {violation} (against version {violation.version})")
