"""The rules of the house (DESIGN.md): who may import whom, what importing may do, how long a file may be."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
SHOP = ROOT / "examples" / "shop"

# Every room and the rooms it may import. A new room needs a line here and in DESIGN.md.
MAY_IMPORT = {
    "errors": set(),
    "http_client": set(),
    "settings": {"errors"},
    "events": {"errors"},
    "serde": {"errors", "events"},
    "kafka": {"errors", "settings"},
    "registry": {"errors", "http_client", "serde", "settings"},
    "registry.server": {"errors", "http_client", "kafka", "registry", "serde", "settings"},
    "listeners": {"errors", "events", "kafka", "serde", "settings"},
    "streams": {"errors", "events", "serde"},
    "streams.runtime": {"errors", "http_client", "kafka", "observability", "serde", "settings", "streams"},
    "streams.app": {
        "errors", "kafka", "observability", "registry", "serde", "settings", "streams", "streams.runtime",
    },
    "eventsourcing": {"errors", "events", "kafka", "listeners", "serde", "settings", "streams"},
    "eventsourcing.app": {
        "errors", "events", "eventsourcing", "eventsourcing.asking", "kafka", "observability", "settings", "streams",
        "streams.app",
    },
    "eventsourcing.asking": {
        "errors", "events", "kafka", "listeners", "observability", "patterns", "settings", "streams",
    },
    "deadletters": {"errors", "kafka", "listeners", "settings"},
    "observability": {"errors", "listeners", "settings"},
    "middleware": {"errors", "listeners", "observability"},
    "patterns": {"errors", "events", "kafka", "listeners", "serde", "settings"},
    "broker": {"errors"},
    "processes": {"errors", "settings"},
    "testing": {
        "app", "broker", "deadletters", "errors", "events", "eventsourcing", "kafka", "listeners", "processes",
        "registry", "serde", "settings", "streams",
    },
    "app_listening": {"listeners"},
    "app_patterns": {
        "errors", "events", "kafka", "listeners", "observability", "patterns", "registry", "serde", "settings",
    },
    "app": {
        "app_listening", "app_patterns", "errors", "events", "kafka", "listeners", "middleware", "observability",
        "patterns", "registry", "serde", "settings",
    },
    "producer": {"errors", "events", "kafka", "listeners", "observability", "registry", "serde", "settings"},
    "cli": {
        "app", "broker", "deadletters", "errors", "kafka", "observability", "patterns", "processes",
        "registry", "registry.server", "serde", "settings", "streams", "streams.app", "streams.runtime",
    },
}  # fmt: skip
SUBROOMS = {"registry.server"}

# The one room that may import a library which others could be tempted by.
OWNERS = {"confluent_kafka": "kafka", "typer": "cli", "rich": "cli", "prometheus_client": "observability"}

# Imported where it is needed, when it is needed: an extra that says so when it is missing.
OPTIONAL_IN_BROKER = {("oauthbearer.py", "jwt")}

# What the demo, a tool and no service, may use beyond the public names: modules that are public as they are.
PUBLIC_MODULES = ("ottla.errors.", "ottla.processes.")

# A file that grows past this holds more than one concept.
LINES_MAX = 600


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """The full names of all that a file imports, at its top or later. `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                package = module_name(path).split(".") + (["__init__"] if path.name == "__init__.py" else [])
                origin = ".".join([*package[: -node.level], *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    """The room of a full name within Ottla; None for the package itself (`from ottla import App`)."""
    parts = name.split(".")[1:]
    for length in (2, 1):
        if len(parts) >= length and (room := ".".join(parts[:length])) in MAY_IMPORT:
            return room
    return None


def rooms() -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in modules(SRC / "ottla"):
        if path.parent == SRC / "ottla" and path.name == "__init__.py":
            continue
        found[room_of(module_name(path)) or module_name(path)].append(path)
    return found


def test_every_room_is_known() -> None:
    assert set(rooms()) <= set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in rooms().get(room, [])
        for name in imports(path)
        if name.split(".")[0] == "ottla" and room_of(name) not in {room, None, *MAY_IMPORT[room]}
    ]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(set(MAY_IMPORT) - {"cli"}))
def test_a_room_does_not_import_through_the_public_names(room: str) -> None:
    """Public names lead to rooms above: that would be an upward import by another way."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in rooms().get(room, [])
        for name in imports(path)
        if name.split(".")[0] == "ottla" and room_of(name) is None and name != "ottla.__version__"
    ]
    assert wrong == []


def test_the_rules_themselves_have_no_cycle() -> None:
    try:
        TopologicalSorter(MAY_IMPORT).prepare()
    except CycleError as cycle:
        pytest.fail(f"rooms in a circle: {cycle.args[1]}")


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_by_its_room_only(library: str) -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for room, paths in rooms().items()
        if room != OWNERS[library]
        for path in paths
        if any(name.split(".")[0] == library for name in imports(path))
    ]
    assert wrong == []


def test_the_broker_needs_nothing_but_a_fast_checksum() -> None:
    """It starts in a tenth of a second, and no other library's release can break it."""
    allowed = sys.stdlib_module_names | {"ottla", "google_crc32c"}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in rooms()["broker"]
        for name in imports(path)
        if name.split(".")[0] not in allowed and (path.name, name.split(".")[0]) not in OPTIONAL_IN_BROKER
    }
    assert wrong == set()


@pytest.mark.parametrize("path", [p for p in modules(SHOP) if "demo" not in p.parts], ids=lambda p: p.stem)
def test_a_service_of_the_shop_uses_public_names_only(path: Path) -> None:
    from ottla import __all__ as public
    from ottla.streams import __all__ as streams

    known = {*public, *(f"streams.{name}" for name in streams)}
    wrong = [
        name for name in imports(path) if name.split(".")[0] == "ottla" and name.removeprefix("ottla.") not in known
    ]
    assert wrong == []


def test_the_demo_imports_no_room_behind_the_scenes() -> None:
    from ottla import __all__ as public

    used = {name for path in modules(SHOP / "demo") for name in imports(path) if name.startswith("ottla.")}
    behind = {name for name in used if name.removeprefix("ottla.") not in public}
    assert {name for name in behind if not name.startswith(PUBLIC_MODULES)} == set()


@pytest.mark.parametrize("path", sorted(SHOP.glob("*/domain.py")), ids=lambda p: p.parent.name)
def test_the_rules_of_a_service_know_no_framework(path: Path) -> None:
    frameworks = {"fastapi", "sqlalchemy", "starlette", "httpx", "confluent_kafka"}
    assert {name.split(".")[0] for name in imports(path)} & frameworks == set()


@pytest.mark.parametrize("path", modules(SRC) + modules(SHOP), ids=lambda p: "/".join(p.parts[-2:]))
def test_a_file_is_no_longer_than_its_concept(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX


# --- what importing does ---


def after_running(program: str) -> dict[str, object]:
    """Runs a program in a fresh interpreter; gives the JSON it printed, and fails if it printed anything else."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_importing_ottla_loads_nothing_but_the_standard_library() -> None:
    program = "import sys, json, ottla; print(json.dumps({'loaded': sorted({m.split('.')[0] for m in sys.modules})}))"
    bare = "import sys, json; print(json.dumps({'loaded': sorted({m.split('.')[0] for m in sys.modules})}))"
    loaded = set(after_running(program)["loaded"]) - set(after_running(bare)["loaded"])  # type: ignore[call-overload]
    assert loaded <= sys.stdlib_module_names | {"ottla"}


def test_every_public_name_is_there_and_public_modules_are_too() -> None:
    import ottla
    import ottla.streams

    for home in (ottla, ottla.streams):
        assert [name for name in home.__all__ if getattr(home, name, None) is None] == []
    assert ottla.streams is getattr(ottla, "streams")  # noqa: B009  as `from ottla import streams` finds it
    assert "streams" in ottla.__all__


def test_importing_every_module_starts_no_thread_and_opens_nothing() -> None:
    names = [module_name(path) for path in modules(SRC / "ottla") if path.name != "__main__.py"]
    program = f"""
import importlib, json, os, sys, threading

def open_files():
    return len(os.listdir("/dev/fd"))

# Interpreter and libraries first: what they open is not ours.
import asyncio, ssl, confluent_kafka, httpx, uvicorn, pytest
before = open_files()
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps({{"threads": threading.active_count(), "opened": open_files() - before}}))
"""
    assert after_running(program) == {"threads": 1, "opened": 0}


def test_the_pytest_plugin_costs_users_next_to_nothing() -> None:
    program = """
import json, sys, pytest
before = set(sys.modules)
import ottla.testing.plugin
print(json.dumps({"loaded": sorted(set(sys.modules) - before)}))
"""
    loaded = after_running(program)["loaded"]
    assert isinstance(loaded, list)
    assert [name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names | {"ottla"}] == []
    assert len(loaded) < 25
