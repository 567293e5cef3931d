"""`ottla streams ...`: stream applications."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ottla.cli.connection import AppDir, AsJson, Bootstrap, admin_for, settings_for

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Describe stream applications, and reset them.")


@app.command()
def describe(
    target: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="A StreamsApp: shop.streams.service:app.")],
    app_dir: AppDir = Path(),
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Say whether it can go on from what it ran with before, on the cluster.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show an application's topology: its sub-topologies, stores and internal topics.

    JSON: {"application", "description", "mermaid", "fingerprint", "compatible", "reasons"}; the last two only with
    --compare. With --compare it exits 1 where the application could not start.
    """
    from ottla.cli.locate import locate_one
    from ottla.cli.output import print_json
    from ottla.streams.app import StreamsApp

    found = locate_one(StreamsApp, target, app_dir)
    topology = found.topology
    reasons = _reasons(found, bootstrap) if compare else None
    if as_json:
        document: dict[str, Any] = {
            "application": topology.application_id,
            "description": topology.describe(),
            "mermaid": topology.mermaid(),
            "fingerprint": topology.fingerprint,
        }
        if reasons is not None:
            document |= {"compatible": not reasons, "reasons": reasons}
        print_json(document)
    else:
        print(topology.mermaid() if mermaid else topology.describe())
        if reasons is not None:
            print("\n".join(reasons) or "it can go on from what it ran with before", file=sys.stderr)
    if reasons:
        raise typer.Exit(1)


@app.command()
def reset(
    application: Annotated[str, typer.Argument(help="The application's name.")],
    state_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Its state on this machine.", show_default="streams.state_dir")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Let an application begin anew: delete its positions, its internal topics and its state on this machine.

    All its instances must be stopped; on other machines, delete the state folder too. What it has written to its
    output topics stays, and is written again.

    JSON: {"application", "group", "topics": [...], "state": DIR or null, "done"}.
    """
    from ottla.cli.output import print_json
    from ottla.errors import KafkaError
    from ottla.streams.runtime.resetting import Reset

    settings = settings_for(bootstrap)
    found = Reset.of(settings, admin_for(settings), application, state_dir or settings.streams.state_dir)
    if not found.anything:
        raise KafkaError(
            f"there is nothing of a stream application {application!r} at {settings.kafka.bootstrap_servers}, nor in "
            f"{state_dir or settings.streams.state_dir}"
        )
    if not as_json:
        for line in found.lines():
            print(line)
    if not dry_run and not yes:
        typer.confirm("Delete all of this?", abort=True, err=True)
    if not dry_run:
        found.run()
    if as_json:
        print_json(
            {
                "application": found.application_id,
                "group": found.group,
                "topics": found.topics,
                "state": None if found.folder is None else str(found.folder),
                "done": not dry_run,
            }
        )
    elif not dry_run:
        print(f"{found.application_id} begins anew at its next start")


def _reasons(found: Any, bootstrap: str | None) -> list[str]:
    from ottla.streams.runtime.stored_topology import read_stored
    from ottla.streams.topology.fingerprint import compare

    settings = settings_for(bootstrap) if bootstrap else found.settings
    stored = read_stored(settings.kafka, found.topology.application_id)
    return [] if stored is None else compare(stored.fingerprint, found.topology.fingerprint)
