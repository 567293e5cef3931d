"""`ottla run`: finds an app, serves it, stops when told to."""

from __future__ import annotations

import signal
import socket
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ottla, Running

ASGI = """
    import asyncio, contextlib
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    @contextlib.asynccontextmanager
    async def lifespan(app):
        print("lifespan begins", flush=True)
        yield
        print("lifespan ends", flush=True)

    async def slow(request):
        print("slow request begins", flush=True)
        await asyncio.sleep(0.5)
        return PlainTextResponse("finished")

    routes = [Route("/", lambda request: PlainTextResponse("hello")), Route("/slow", slow)]
    api = Starlette(routes=routes, lifespan=lifespan)
    number = 3
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a Python file into the test's folder."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write_file


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_an_asgi_app_is_served_until_a_signal_and_ends_with_status_0(
    start: Callable[..., Running], write: Callable[[str, str], Path], number: int
) -> None:
    write("one_service.py", ASGI)
    service = start("run", "one_service:api", "--port", "0")
    url = service.wait_for(r"^one_service:api ready on (http://127\.0\.0\.1:\d+)$")[1]
    assert get(url) == "hello"
    assert service.stop(number) == 0
    assert "lifespan ends" in service.output


def test_a_running_request_is_finished_before_the_service_stops(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write("one_service.py", ASGI)
    service = start("run", "one_service:api", "--port", "0")
    address = service.wait_for(r"ready on http://(127\.0\.0\.1:\d+)")[1]
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        service.wait_for("slow request begins")
        service.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"finished")
    assert service.process.wait(10) == 0


def test_log_lines_have_time_level_service_and_message(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write("one_service.py", ASGI)
    service = start("run", "one_service:api", "--port", "0", "--name", "greeter", "--access-log")
    url = service.wait_for(r"^greeter ready on (\S+)")[1]
    get(url)
    service.stop()
    stamp = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    service.wait_for(stamp + r" INFO +greeter stopping: SIGTERM$")
    service.wait_for(stamp + r' INFO +greeter 127\.0\.0\.1:\d+ - "GET / HTTP/1.1" 200$')


def test_requests_are_not_logged_unless_asked_for(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write("one_service.py", ASGI)
    service = start("run", "one_service:api", "--port", "0")
    get(service.wait_for(r"ready on (\S+)")[1])
    service.stop()
    assert "GET /" not in service.output


def test_a_start_that_hangs_is_given_up_at_a_signal(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write(
        "hanging.py",
        """
        import asyncio, contextlib
        from starlette.applications import Starlette

        @contextlib.asynccontextmanager
        async def lifespan(app):
            print("waiting for ever", flush=True)
            await asyncio.sleep(3600)
            yield

        api = Starlette(lifespan=lifespan)
        """,
    )
    service = start("run", "hanging:api", "--port", "0")
    service.wait_for("waiting for ever")
    assert service.stop() == 0
    assert "Traceback" not in service.output


def test_an_error_of_ottla_at_start_is_one_line(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write(
        "refusing.py",
        """
        import contextlib
        from ottla.errors import ConfigurationError
        from starlette.applications import Starlette

        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise ConfigurationError("the moon is in the wrong phase")
            yield

        api = Starlette(lifespan=lifespan)
        """,
    )
    service = start("run", "refusing:api", "--port", "0")
    assert service.process.wait(30) == 1
    service.wait_for("^error: the moon is in the wrong phase$")
    assert "Traceback" not in service.output


def test_any_other_error_at_start_keeps_its_traceback(
    start: Callable[..., Running], write: Callable[[str, str], Path]
) -> None:
    write(
        "broken.py",
        """
        import contextlib
        from starlette.applications import Starlette

        @contextlib.asynccontextmanager
        async def lifespan(app):
            raise ZeroDivisionError("in the user's own code")
            yield

        api = Starlette(lifespan=lifespan)
        """,
    )
    service = start("run", "broken:api", "--port", "0")
    assert service.process.wait(30) == 1
    service.wait_for("ZeroDivisionError: in the user's own code")
    service.wait_for(r'broken\.py", line \d+')


def test_a_busy_port_names_the_settings_that_change_it(ottla: Ottla, write: Callable[[str, str], Path]) -> None:
    write("busy_service.py", ASGI)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = ottla("run", "busy_service:api", "--port", str(port))
    assert shown.status == 1
    assert f"port {port} on 127.0.0.1 is already in use" in shown.err
    assert "--port or OTTLA_HTTP__PORT" in shown.err


def test_an_address_of_another_machine_is_refused(ottla: Ottla, write: Callable[[str, str], Path]) -> None:
    write("far_service.py", ASGI)
    shown = ottla("run", "far_service:api", "--host", "192.0.2.1", "--port", "0")
    assert shown.status == 1
    assert "cannot listen on 192.0.2.1" in shown.err
    assert "--host" in shown.err


def test_a_module_that_does_not_exist_is_answered_with_where_it_was_looked_for(ottla: Ottla, tmp_path: Path) -> None:
    shown = ottla("run", "not_there.at_all:app", "--app-dir", str(tmp_path / "services"))
    assert shown.status == 1
    assert f"there is no module not_there in {tmp_path / 'services'}" in shown.err
    assert "--app-dir" in shown.err


def test_a_package_the_module_needs_is_named_with_the_line_that_needs_it(
    ottla: Ottla, write: Callable[[str, str], Path]
) -> None:
    path = write("needy_service.py", "x = 1\nimport not_installed_anywhere\n")
    shown = ottla("run", "needy_service:app")
    assert shown.status == 1
    assert "needs not_installed_anywhere, which is not installed" in shown.err
    assert f"({path}, line 2)" in shown.err


def test_an_attribute_that_does_not_exist_is_answered_with_those_that_would_do(
    ottla: Ottla, write: Callable[[str, str], Path]
) -> None:
    path = write("other_service.py", ASGI)
    shown = ottla("run", "other_service:app")
    assert shown.status == 1
    assert f"module other_service ({path}) has no 'app'; it has other_service:api" in shown.err


def test_an_attribute_that_is_no_app_is_refused(ottla: Ottla, write: Callable[[str, str], Path]) -> None:
    write("third_service.py", ASGI)
    shown = ottla("run", "third_service:number")
    assert shown.status == 1
    assert "third_service:number is a int, neither an ottla App nor an ASGI app" in shown.err


def test_a_target_without_a_colon_is_explained(ottla: Ottla) -> None:
    shown = ottla("run", "shop.orders")
    assert shown.status == 1
    assert "MODULE:NAME" in shown.err


@pytest.mark.parametrize(
    ("text", "fault"),
    [("x = 1\ndef broken(:\n", "SyntaxError: "), ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division")],
    ids=["syntax", "exception"],
)
def test_a_module_that_fails_on_import_shows_its_own_lines_and_none_of_ours(
    ottla: Ottla, tmp_path: Path, text: str, fault: str
) -> None:
    name = f"failing_{fault.partition(':')[0].lower()}"
    (tmp_path / f"{name}.py").write_text(text)
    shown = ottla("run", f"{name}:app")
    assert shown.status == 1
    assert shown.err.startswith(f"error: cannot import {name}:\n")
    assert all(said in shown.err for said in (f"{name}.py", "line 2", fault))
    assert not any(ours in shown.err for ours in ("importlib", "ottla/cli"))
