"""`ottla projection ...`: tables that events fill."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AppDir, AsJson, Bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from ottla.patterns.projection import Projection
    from ottla.settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at projections, and build them anew.")

Target = Annotated[str, typer.Argument(metavar="MODULE:NAME", help="What App.projection gave: shop.reports:customers.")]

WIDTH = 30


@app.command("list")
def list_projections(
    module: Annotated[str, typer.Argument(metavar="MODULE", help="A module with projections: shop.reports.")],
    app_dir: AppDir = Path(),
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """List the projections of a module. It asks no cluster: --bootstrap-server changes nothing.

    JSON: [{"name", "target", "group", "topics": [...], "tables": [...]}].
    """
    from ottla.cli.locate import locate
    from ottla.cli.output import print_json, print_table
    from ottla.patterns.projection import Projection

    found, _ = locate(f"{module}:__name__", app_dir)
    rows = [
        {
            "name": one.name,
            "target": f"{module}:{variable}",
            "group": one.group,
            "topics": one.topics,
            "tables": [table.name for table in one.tables],
        }
        for variable, one in sorted(vars(found).items())
        if isinstance(one, Projection)
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["NAME", "TARGET", "GROUP", "TOPICS", "TABLES"],
        [tuple(one if isinstance(one, str) else ", ".join(one) for one in row.values()) for row in rows],
        empty=f"{module} has no projections",
    )


@app.command()
def status(target: Target, app_dir: AppDir = Path(), bootstrap: Bootstrap = None, as_json: AsJson = False) -> None:
    """Show where a projection stands: its generation, whether its tables are the code's, positions and lag.

    JSON: {"name", "generation", "building", "current", "lag", "partitions": [{"topic", "partition", "position",
    "building", "end", "lag"}]}; without a generation it has never run. Exits 1 where the tables are not the code's.
    """
    from ottla.cli.output import print_json, print_table
    from ottla.kafka.admin import Admin
    from ottla.patterns.projection_rebuild import status as read_status

    projection = _projection(target, app_dir)
    admin = Admin(_settings(projection, bootstrap).kafka)
    now, form, rows = _asked(projection, lambda engine: read_status(projection, engine, admin))
    current = now is None or now.form == form
    lag = sum(row.lag for row in rows)
    if as_json:
        print_json(
            {
                "name": projection.name,
                "generation": now.live if now else None,
                "building": now.building if now else None,
                "current": current,
                "lag": lag,
                "partitions": [
                    {
                        "topic": row.topic,
                        "partition": row.partition,
                        "position": row.position,
                        "building": row.building,
                        "end": row.end,
                        "lag": row.lag,
                    }
                    for row in rows
                ],
            }
        )
    else:
        generation = "it has never run" if now is None else f"generation {now.live}"
        building = f", generation {now.building} is being built" if now and now.building else ""
        print(f"{projection.name}: {generation}{building}, {lag:,} records behind")
        if not current:
            print(f"its tables are not what the code says: ottla projection rebuild {target}")
        print_table(
            ["TOPIC", "PARTITION", "POSITION", "BUILDING", "END", "LAG"],
            [(row.topic, row.partition, row.position, row.building, row.end, row.lag) for row in rows],
            empty="its topics do not exist",
        )
    if not current:
        raise typer.Exit(1)


@app.command()
def rebuild(
    target: Target,
    app_dir: AppDir = Path(),
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin from the first event, whatever an earlier run has done.")
    ] = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Build a projection's tables anew from all events, beside those that are read, then swap them in at once.

    The service may go on meanwhile; nothing is lost or doubled around the swap. Stopped or killed, it goes on where it
    was when it is run again; after a change of the handlers, give --restart.

    JSON: {"name", "generation", "resumed", "events", "dead_letters"}.
    """
    from ottla.cli.output import print_json
    from ottla.kafka.producer import Producer
    from ottla.patterns.projection_rebuild import Rebuild
    from ottla.registry.client import client_for
    from ottla.serde.deserializer import Deserializer

    projection = _projection(target, app_dir)
    settings = _settings(projection, bootstrap)
    registry = client_for(settings.registry)
    producer = Producer(settings.kafka, client_id=projection.group)
    shown = _progress(projection.name, as_json)
    try:
        done = _asked(
            projection,
            lambda engine: Rebuild(projection, engine, settings, Deserializer(registry), producer).run(
                shown, restart=restart
            ),
        )
    finally:
        shown(0, -1)
        producer.close()
        registry.close()
    if as_json:
        print_json(
            {
                "name": projection.name,
                "generation": done.generation,
                "resumed": done.resumed,
                "events": done.events,
                "dead_letters": done.dead_letters,
            }
        )
        return
    went_on = " (it went on where it had been stopped)" if done.resumed else ""
    print(f"{projection.name}: generation {done.generation} is live, {done.events:,} events written{went_on}")
    if done.dead_letters:
        print(f"{done.dead_letters:,} records could not be read or handled: they are in the dead letters")


def _projection(target: str, app_dir: Path) -> Projection:
    from ottla.cli.locate import locate_one
    from ottla.patterns.projection import Projection

    return locate_one(Projection, target, app_dir, " (what App.projection gives)")


def _settings(projection: Projection, bootstrap: str | None) -> Settings:
    import msgspec

    settings = projection.settings
    if bootstrap is None:
        return settings
    kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=bootstrap)
    return msgspec.structs.replace(settings, kafka=kafka)


def _asked(projection: Projection, question: Callable[[Engine], Any]) -> Any:
    """With the projection's database. Its errors are told in a line."""
    from sqlalchemy.exc import SQLAlchemyError

    from ottla.errors import OttlaError
    from ottla.patterns.database import Worker

    worker = Worker(projection.database)
    try:
        return question(worker.engine)
    except SQLAlchemyError as error:
        raise OttlaError(f"projection {projection.name!r}: the database says: {error}") from error
    finally:
        worker.close()


def _progress(name: str, as_json: bool) -> Callable[[int, int], None]:
    """A bar on a terminal; nothing otherwise. Called with (0, -1) at the end."""
    if as_json or not sys.stderr.isatty():
        return lambda _done, _total: None

    def show(done: int, total: int) -> None:
        if total < 0:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            return
        share = done / total if total else 1.0
        filled = int(share * WIDTH)
        bar = f"{name}  [{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {done:,} of {total:,}"
        print(f"\r\x1b[K{bar}", end="", file=sys.stderr, flush=True)

    return show
