"""`ottla dlq ...`: dead letters, and how they come back."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottla.cli.connection import AsJson, Bootstrap, RegistryUrl, complete_topic, settings_for

if TYPE_CHECKING:
    from ottla.deadletters.letter import DeadLetter
    from ottla.deadletters.queue import DeadLetterQueue, Outcome
    from ottla.deadletters.selection import Selection

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List, show, edit, replay and purge dead letters.",
)


class State(StrEnum):
    """What became of a letter."""

    open = "open"
    replayed = "replayed"
    edited = "edited"
    parked = "parked"
    purged = "purged"


Topic = Annotated[
    str,
    typer.Argument(help="The topic whose records died, or its dead-letter topic.", autocompletion=complete_topic),
]
Letter = Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Which dead letter.")]
Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PARTITION:OFFSET...]", help="Only these dead letters.", show_default="all that fit"),
]
Exception_ = Annotated[
    str | None, typer.Option("--exception", "-e", metavar="NAME", help="Only of this exception; * and ? are wild.")
]
Message = Annotated[str | None, typer.Option("--message", metavar="TEXT", help="Only where the exception says this.")]
Handler = Annotated[str | None, typer.Option("--handler", metavar="NAME", help="Only of this handler.")]
Service = Annotated[str | None, typer.Option("--service", metavar="NAME", help="Only of this service.")]
Key = Annotated[str | None, typer.Option("--key", "-k", metavar="TEXT", help="Only records of this key.")]
EventId = Annotated[str | None, typer.Option("--event-id", metavar="ID", help="Only the record of this event.")]
Since = Annotated[
    datetime | None, typer.Option("--since", help="Only letters written from then on; UTC unless it says otherwise.")
]
Until = Annotated[datetime | None, typer.Option("--until", help="Only letters written before.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")]
States = Annotated[
    list[State] | None, typer.Option("--state", help="Only in this state; repeatable.", show_default="open")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command("list")
def list_letters(
    topic: Annotated[
        str | None,
        typer.Argument(help="A topic.", autocompletion=complete_topic, show_default="all dead-letter topics"),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="One line for each letter, not for each exception.")] = False,
    exception: Exception_ = None,
    message: Message = None,
    handler: Handler = None,
    service: Service = None,
    key: Key = None,
    event_id: EventId = None,
    since: Since = None,
    until: Until = None,
    state: States = None,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Show what has died and why: by exception and handler, or --each letter.

    JSON without a topic: {"topics": [{"topic", "open", "parked", "replayed", "edited", "purged"}]}; with one:
    {"topic", "groups": [{"exception", "handler", "service", "count", "first", "last", "example"}]}; with --each, one
    letter a line: {"id", "state", "topic", "partition", "offset", "key", "exception", "message", "handler", "service",
    "attempts", "replays", "event_id", "time"}.
    """
    from ottla.cli.output import print_json, print_json_line, print_table
    from ottla.deadletters.queue import DeadLetterQueue

    settings = settings_for(bootstrap)
    if topic is None:
        _list_topics(settings, as_json)
        return
    queue = DeadLetterQueue(settings, topic)
    chosen = _selection(None, exception, message, handler, service, key, event_id, since, until, limit, state)
    letters = queue.letters(chosen)
    nothing = f"no such dead letters in {queue.topic}"
    if each and as_json:
        for letter in letters:
            print_json_line(_document(letter))
    elif each:
        rows = [_row(letter) for letter in letters]
        columns = ["ID", "STATE", "TIME", "KEY", "EXCEPTION", "HANDLER", "ATTEMPTS", "REPLAYS", "MESSAGE"]
        print_table(columns, rows, empty=nothing)
    else:
        groups = _groups(letters)
        if as_json:
            print_json({"topic": queue.topic, "groups": groups})
        else:
            rows = [tuple(group.values()) for group in groups]
            columns = ["EXCEPTION", "HANDLER", "SERVICE", "COUNT", "FIRST", "LAST", "EXAMPLE"]
            print_table(columns, rows, empty=nothing)


@app.command()
def show(
    topic: Topic, letter: Letter, bootstrap: Bootstrap = None, registry_url: RegistryUrl = None, as_json: AsJson = False
) -> None:
    """Show one dead letter: where it came from, why, its value and headers.

    JSON: the fields of `list --each`, and "value", "format", "schema_id", "headers", "stacktrace".
    """
    from ottla.cli.consume import avro_decoder
    from ottla.cli.output import print_json
    from ottla.cli.presentation import Presenter, headers_document
    from ottla.deadletters.letter import LetterId
    from ottla.deadletters.queue import DeadLetterQueue

    settings = settings_for(bootstrap, registry_url)
    found = DeadLetterQueue(settings, topic).letter(LetterId.parse(letter))
    value = Presenter(avro_decoder(settings)).value(found.record)
    trace = dict(found.record.headers).get("kafka_dlt-exception-stacktrace") or b""
    document = {
        **_document(found),
        "value": value.value,
        "format": value.form,
        "schema_id": value.schema_id,
        "headers": headers_document(found.headers),
        "stacktrace": trace.decode(errors="replace"),
    }
    if as_json:
        print_json(document)
        return
    for name, content in document.items():
        if isinstance(content, dict) and name == "headers":
            print("headers:" if content else "headers: -")
            for header, text in content.items():
                print(f"  {header}: {text}")
        elif name == "stacktrace":
            print(f"stacktrace:\n{content}" if content else "stacktrace: -")
        else:
            print(f"{name}: {_plain(content)}")


@app.command()
def replay(
    topic: Topic,
    ids: Ids = None,
    exception: Exception_ = None,
    message: Message = None,
    handler: Handler = None,
    service: Service = None,
    key: Key = None,
    event_id: EventId = None,
    since: Since = None,
    until: Until = None,
    state: States = None,
    limit: Limit = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TOPIC", help="Where to.", show_default="where each came from")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0.01, help="At most so many a second.")] = None,
    replays_max: Annotated[
        int, typer.Option("--max-replays", min=1, help="Park a letter that was replayed so often already.")
    ] = 3,
    dry_run: DryRun = False,
    yes: Yes = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Write dead letters back to where they came from, as they were. Asks first, unless --yes.

    Each letter is replayed and noted as replayed in one Kafka transaction, so Ctrl-C, a crash and a second run do no
    harm: what was not replayed yet is still open. All consumer groups of the topic see the record again.

    JSON: {"replayed", "parked", "purged", "dry_run"}.
    """
    import signal
    import threading

    from ottla.deadletters.queue import DeadLetterQueue

    queue = DeadLetterQueue(settings_for(bootstrap), topic)
    chosen = _selection(ids, exception, message, handler, service, key, event_id, since, until, limit, state)
    planned = queue.replay(chosen, to=to, replays_max=replays_max, dry_run=True)
    if dry_run or not (planned.replayed or planned.parked):
        _report(queue, planned, as_json, dry_run=dry_run)
        return
    _confirm(f"Replay {_letters(planned.replayed)} of {queue.topic} to {to or 'where they came from'}?", yes)
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        done = queue.replay(
            chosen, to=to, rate=rate, replays_max=replays_max, stop=stop, progress=_progress(planned, as_json)
        )
    finally:
        signal.signal(signal.SIGINT, before)
    _report(queue, done, as_json, dry_run=False)
    if stop.is_set():
        print("interrupted: the other letters are still open, run it again to go on", file=sys.stderr)
        raise typer.Exit(130)


@app.command()
def edit(
    topic: Topic,
    letter: Letter,
    value: Annotated[str | None, typer.Option("--value", "-v", help="The new value, as text.")] = None,
    value_file: Annotated[
        Path | None, typer.Option("--value-file", metavar="FILE", help="The new value: a file's bytes as they are.")
    ] = None,
    schema_of: Annotated[
        str | None,
        typer.Option("--schema-of", metavar="SUBJECT", help="The value is JSON: write it by this subject's schema."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="A new key.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TOPIC", help="Where to.", show_default="where it came from")
    ] = None,
    bootstrap: Bootstrap = None,
    registry_url: RegistryUrl = None,
    as_json: AsJson = False,
) -> None:
    """Replay one dead letter with another value: --value, --value-file, or what $EDITOR makes of it.

    A value in Avro is edited as JSON and written by the schema it had, or by that of --schema-of.

    JSON: {"id", "topic"}.
    """
    from ottla.cli.letter_editor import edited_value
    from ottla.cli.output import print_json
    from ottla.deadletters.letter import LetterId
    from ottla.deadletters.queue import DeadLetterQueue

    settings = settings_for(bootstrap, registry_url)
    queue = DeadLetterQueue(settings, topic)
    letter_id = LetterId.parse(letter)
    found = queue.letter(letter_id)
    fresh = edited_value(settings, found, value=value, value_file=value_file, schema_of=schema_of)
    if fresh == found.record.value and key is None:
        print("nothing was changed, the letter stays as it is", file=sys.stderr)
        raise typer.Exit(1)
    queue.edit(letter_id, fresh, key=None if key is None else key.encode(), to=to)
    if as_json:
        print_json({"id": str(letter_id), "topic": to or found.topic})
    else:
        print(f"{queue.topic} {letter_id}: edited, and replayed to {to or found.topic}")


@app.command()
def purge(
    topic: Topic,
    ids: Ids = None,
    exception: Exception_ = None,
    message: Message = None,
    handler: Handler = None,
    service: Service = None,
    key: Key = None,
    event_id: EventId = None,
    since: Since = None,
    until: Until = None,
    state: States = None,
    limit: Limit = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit topic.")] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    bootstrap: Bootstrap = None,
    as_json: AsJson = False,
) -> None:
    """Give dead letters up for good. Asks first, unless --yes.

    Purged letters are noted in the audit topic; the broker deletes them once all letters before them are settled too.

    JSON: {"replayed", "parked", "purged", "dry_run"}.
    """
    from ottla.deadletters.queue import DeadLetterQueue

    queue = DeadLetterQueue(settings_for(bootstrap), topic)
    chosen = _selection(ids, exception, message, handler, service, key, event_id, since, until, limit, state)
    planned = queue.purge(chosen, dry_run=True)
    if not dry_run and planned.purged:
        _confirm(f"Give up {_letters(planned.purged)} of {queue.topic} for good?", yes)
        planned = queue.purge(chosen, reason=reason)
    _report(queue, planned, as_json, dry_run=dry_run)


def _selection(
    ids: list[str] | None,
    exception: str | None,
    message: str | None,
    handler: str | None,
    service: str | None,
    key: str | None,
    event_id: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    states: list[State] | None,
) -> Selection:
    from ottla.deadletters.letter import LetterId
    from ottla.deadletters.selection import Selection

    return Selection(
        ids=frozenset(map(LetterId.parse, ids or [])),
        states=frozenset(state.value for state in states or [State.open]),
        exception=exception,
        message=message,
        handler=handler,
        service=service,
        key=key,
        event_id=event_id,
        since=_aware(since),
        until=_aware(until),
        limit=limit,
    )


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _list_topics(settings: Any, as_json: bool) -> None:
    from ottla.cli.output import print_json, print_table
    from ottla.deadletters.queue import STATES, DeadLetterQueue
    from ottla.deadletters.selection import Selection

    rows: list[dict[str, Any]] = []
    for name in DeadLetterQueue.topics(settings):
        letters = DeadLetterQueue(settings, name).letters(Selection(states=frozenset(STATES)))
        counts = Counter(letter.state for letter in letters)
        rows.append({"topic": name, **{state: counts[state] for state in STATES}})
    if as_json:
        print_json({"topics": rows})
    else:
        columns = ["TOPIC", *(state.upper() for state in STATES)]
        print_table(columns, [tuple(row.values()) for row in rows], empty="there are no dead-letter topics")


def _groups(letters: Any) -> list[dict[str, Any]]:
    """Letters by exception and handler, the largest group first."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for letter in letters:
        place = letter.exception or "(unknown)", letter.handler or "-", letter.service or "-"
        time = _time(letter.time)
        group = groups.setdefault(
            place,
            {
                "exception": place[0],
                "handler": place[1],
                "service": place[2],
                "count": 0,
                "first": time,
                "last": time,
                "example": str(letter.id),
            },
        )
        group["count"] += 1
        group["first"], group["last"] = min(group["first"], time), max(group["last"], time)
    return sorted(groups.values(), key=lambda group: -int(group["count"]))


def _document(letter: DeadLetter) -> dict[str, Any]:
    from ottla.cli.presentation import show_text

    return {
        "id": str(letter.id),
        "state": letter.state,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": show_text(letter.record.key).value,
        "exception": letter.exception,
        "message": letter.message,
        "handler": letter.handler,
        "service": letter.service,
        "attempts": letter.attempts,
        "replays": letter.replays,
        "event_id": letter.event_id,
        "time": _time(letter.time),
    }


def _row(letter: DeadLetter) -> tuple[str | int | None, ...]:
    shown = _document(letter)
    first_line = letter.message.partition("\n")[0]
    return (
        shown["id"],
        letter.state,
        shown["time"],
        shown["key"],
        letter.exception.rpartition(".")[2] or "(unknown)",
        letter.handler or "-",
        letter.attempts,
        letter.replays,
        first_line if len(first_line) <= 80 else f"{first_line[:79]}…",
    )


def _plain(content: Any) -> str:
    if isinstance(content, dict | list):
        import msgspec

        return msgspec.json.format(msgspec.json.encode(content, enc_hook=str), indent=2).decode()
    return "-" if content in (None, "") else str(content)


def _time(time: datetime | None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else "-"


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _confirm(question: str, yes: bool) -> None:
    from ottla.errors import ConfigurationError

    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Nobody can be asked here: confirm with --yes, or look with --dry-run")
    typer.confirm(question, abort=True)


def _progress(planned: Outcome, as_json: bool) -> Any:
    total = planned.replayed + planned.parked
    if as_json or not sys.stderr.isatty():
        return None
    return lambda count: print(f"\r{count:,} of {total:,}", end="\n" if count >= total else "", file=sys.stderr)


def _report(queue: DeadLetterQueue, outcome: Outcome, as_json: bool, *, dry_run: bool) -> None:
    import msgspec

    from ottla.cli.output import print_json

    if as_json:
        print_json({**msgspec.structs.asdict(outcome), "dry_run": dry_run})
        return
    counts = {name: count for name, count in msgspec.structs.asdict(outcome).items() if count}
    told = ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "no dead letter fits"
    print(f"{queue.topic}: {'would be: ' if dry_run and counts else ''}{told}")
