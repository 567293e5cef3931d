"""`ottla state ...`: the stores of running stream applications."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, admin_for, settings_for

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Ask the stores of running stream applications.")

Application = Annotated[str, typer.Argument(help="The application's name, or an instance's HOST:PORT.")]
Staleness = Annotated[
    float | None,
    typer.Option(
        "--max-staleness", metavar="SECONDS", help="Let standby copies answer that are at most so far behind."
    ),
]


@app.command("list")
def list_state(
    application: Application,
    store: Annotated[
        str | None, typer.Argument(help="A store, to list its entries.", show_default="the stores and tasks")
    ] = None,
    low: Annotated[str | None, typer.Option(help="Only keys from here on.")] = None,
    high: Annotated[str | None, typer.Option(help="Only keys up to here.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only keys that begin so.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 100,
    max_staleness: Staleness = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """List an application's stores and tasks, or the entries of a store, from all its instances.

    JSON without a store: {"application", "stores": {...}, "tasks": [...], "standbys": [...]}, the tasks being those of
    all instances; with one: {"store", "entries": [{"key", "value", ...}]}.
    """
    from ottla.cli.output import print_json, print_table

    places = _places(application, bootstrap)
    if store is None:
        found = _overview(places)
        if as_json:
            print_json(found)
            return
        print_table(
            ["STORE", "KIND", "KEY", "VALUE"],
            [(name, one["kind"], one["key"], one["value"]) for name, one in found["stores"].items()],
            empty="it has no stores",
        )
        print()
        print_table(
            ["TASK", "STATE", "PROCESSED", "LAG", "INSTANCE"],
            [
                (one["task"], one["state"], one["processed"], one["lag"], one["instance"])
                for one in sorted(found["tasks"], key=lambda one: str(one["task"]))
            ],
            empty="no task runs",
        )
        return
    asked = {"low": low, "high": high, "prefix": prefix, "limit": limit, "max_staleness_s": max_staleness}
    found = _ask(places, f"/state/{store}", asked)
    if as_json:
        print_json(found)
        return
    columns = list(dict.fromkeys(name for one in found["entries"] for name in one))
    print_table(
        [name.upper() for name in columns],
        [tuple(_cell(one.get(name)) for name in columns) for one in found["entries"]],
        empty=f"{store} holds nothing there",
    )


@app.command()
def get(
    application: Application,
    store: Annotated[str, typer.Argument(help="The store.")],
    key: Annotated[str, typer.Argument(help="The key.")],
    start_ms: Annotated[int | None, typer.Option(help="A window's start, in milliseconds since the epoch.")] = None,
    from_ms: Annotated[int | None, typer.Option(help="Windows that start from here on.")] = None,
    to_ms: Annotated[int | None, typer.Option(help="Windows that start up to here.")] = None,
    max_staleness: Staleness = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show what a store holds for a key, from whichever instance has it. Exits 1 if it holds nothing.

    JSON: {"key", "value", ...}; of a window store without --start-ms {"key", "windows": [...]}, of a session store
    {"key", "sessions": [...]}.
    """
    from urllib.parse import quote

    from ottla.cli.output import print_json, print_table

    asked = {"start_ms": start_ms, "from_ms": from_ms, "to_ms": to_ms, "max_staleness_s": max_staleness}
    found = _ask(_places(application, bootstrap), f"/state/{store}/key/{quote(key, safe='')}", asked)
    if as_json:
        print_json(found)
        return
    many = found.get("windows", found.get("sessions"))
    rows = [found] if many is None else many
    columns = list(dict.fromkeys(name for one in rows for name in one))
    print_table(
        [name.upper() for name in columns],
        [tuple(_cell(one.get(name)) for name in columns) for one in rows],
        empty=f"{store} holds nothing for {key}",
    )


def _cell(value: Any) -> Any:
    import msgspec

    return value if isinstance(value, str | int) or value is None else msgspec.json.encode(value, enc_hook=str).decode()


def _places(application: str, bootstrap: str | None) -> list[str]:
    """Where the instances' HTTP ports are."""
    from ottla.errors import KafkaError
    from ottla.streams.runtime.group_view import running_members
    from ottla.streams.runtime.stored_topology import metadata_topic

    if ":" in application:
        return [application]
    settings = settings_for(bootstrap)
    application_id = settings.kafka.named(application)
    if metadata_topic(application_id) not in admin_for(settings).topics():
        raise KafkaError(f"no stream application {application!r} is known at {settings.kafka.bootstrap_servers}")
    members = running_members(settings.kafka, application_id)
    places = [member.address for member in members if member.address]
    if not places:
        raise KafkaError(
            f"no instance of {application} with an HTTP port has been heard of in the last seconds: run it with "
            f"`ottla run`, or say with streams.advertised where it answers"
        )
    return places


def _overview(places: list[str]) -> dict[str, Any]:
    """Of all instances together."""
    from ottla.errors import KafkaError

    merged: dict[str, Any] = {}
    refusals = []
    for place in places:
        try:
            found = _ask([place], "/state", {})
        except KafkaError as error:
            refusals.append(str(error))
            continue
        for one in (*found["tasks"], *found["standbys"]):
            one["instance"] = place
        if merged:
            merged["tasks"] += found["tasks"]
            merged["standbys"] += found["standbys"]
        else:
            merged = found
    if not merged:
        raise KafkaError("; ".join(refusals))
    return merged


def _ask(places: list[str], path: str, asked: dict[str, Any]) -> Any:
    """Asks one instance after the other until one answers: each knows where to ask further."""
    import httpx

    from ottla.errors import KafkaError
    from ottla.streams.runtime.access import bearer

    wanted = {name: value for name, value in asked.items() if value is not None}
    headers = bearer(settings_for(None).streams.query_token)
    refusal = ""
    for place in places:
        try:
            reply = httpx.get(f"http://{place}{path}", params=wanted, headers=headers, timeout=15.0, trust_env=False)
        except httpx.HTTPError as error:
            refusal = f"{place} does not answer: {error}"
            continue
        if reply.status_code == 200:
            return reply.json()
        try:
            refusal = reply.json()["error"]
        except (ValueError, KeyError):
            refusal = f"{place} answers {reply.status_code}: is it a stream application's HTTP port?"
        if reply.status_code != 503:
            break
    raise KafkaError(refusal)
