"""The client: what it keeps, and what it makes of answers, refusals and silence."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fastavro
import httpx
import pytest

from ottla.errors import RegistryRejected, RegistryUnavailable
from ottla.registry import RegistryClient
from ottla.serde import Deserializer, wire
from ottla.serde.registry import SchemaRegistry
from ottla.testing import EmbeddedRegistry

STRING = '"string"'


class Scripted(ThreadingHTTPServer):
    """A server that gives the answers it was told to, and keeps what it was asked.

    Attributes:
        answers: (status, body) for each request to come; the last one stays.
        requests: Method, path and body of each request, and the client's port: one port is one connection.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.requests: list[tuple[str, str, bytes]] = []
        self.connections: set[int] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, asked))
        self.server.connections.add(self.client_address[1])
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    thread = threading.Thread(target=scripted.serve_forever, args=(0.01,))
    thread.start()
    yield scripted
    scripted.shutdown()
    scripted.server_close()
    thread.join()


def test_the_client_is_what_the_serializers_ask_for(server: Scripted) -> None:
    port: SchemaRegistry = RegistryClient(server.url)  # mypy checks the signatures
    server.answers = [(200, b'{"id": 7}')]
    assert port.lookup("s", STRING) == 7


def test_an_id_is_asked_for_once(server: Scripted) -> None:
    server.answers = [(200, b'{"schema": "\\"string\\""}')]
    client = RegistryClient(server.url)
    assert [client.schema(7) for _ in range(3)] == [STRING] * 3
    assert server.requests == [("GET", "/schemas/ids/7", b"")]


def test_a_subject_and_schema_are_registered_once(server: Scripted) -> None:
    server.answers = [(200, b'{"id": 7}')]
    client = RegistryClient(server.url)
    assert [client.register("a/b", STRING) for _ in range(3)] == [7] * 3
    assert client.lookup("a/b", STRING) == 7
    [(method, path, body)] = server.requests
    assert (method, path, json.loads(body)) == ("POST", "/subjects/a%2Fb/versions", {"schema": STRING})


def test_a_failure_is_not_kept(server: Scripted) -> None:
    server.answers = [(503, b"busy"), (200, b'{"id": 7}')]
    client = RegistryClient(server.url)
    with pytest.raises(RegistryUnavailable):
        client.register("s", STRING)
    assert client.register("s", STRING) == 7


def test_a_connection_is_used_again(server: Scripted) -> None:
    server.answers = [(200, b'{"id": 7}')]
    client = RegistryClient(server.url)
    for number in range(5):
        client.register(f"s{number}", STRING)
    assert len(server.connections) == 1


def test_a_url_may_have_a_path(server: Scripted) -> None:
    server.answers = [(200, b'["AVRO"]')]
    RegistryClient(f"{server.url}/apis/ccompat/v7/").ping()
    assert server.requests[0][1] == "/apis/ccompat/v7/schemas/types"


def test_a_refusal_carries_status_code_subject_and_what_to_do(server: Scripted) -> None:
    server.answers = [(404, b'{"error_code": 40403, "message": "Schema not found"}')]
    with pytest.raises(RegistryRejected) as refused:
        RegistryClient(server.url).lookup("orders-shop.OrderCreated", STRING)
    assert (refused.value.status, refused.value.code) == (404, 40403)
    assert str(refused.value) == (
        f"subject orders-shop.OrderCreated: schema not found: the schema registry at {server.url} answered 40403: "
        f"Schema not found. The schema is not registered there: register it first, or turn registry.auto_register on."
    )


def test_a_refusal_that_is_not_json_is_still_one(server: Scripted) -> None:
    server.answers = [(403, b"<html>Forbidden</html>")]
    with pytest.raises(RegistryRejected, match="403: <html>Forbidden") as refused:
        RegistryClient(server.url).register("s", STRING)
    assert (refused.value.status, refused.value.code) == (403, 403)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_failure_inside_the_registry_is_worth_another_try(server: Scripted, status: int) -> None:
    server.answers = [(status, b'{"error_code": 50001, "message": "the store"}')]
    with pytest.raises(RegistryUnavailable, match=f"HTTP {status}: the store"):
        RegistryClient(server.url).schema(1)


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"{}", b'{"schema": 3}'])
def test_something_else_on_the_port_is_told(server: Scripted, body: bytes) -> None:
    server.answers = [(200, body)]
    with pytest.raises(RegistryUnavailable, match="not a schema registry"):
        RegistryClient(server.url).schema(1)


def call_schema(client: RegistryClient) -> object:
    return client.schema(1)


def call_ping(client: RegistryClient) -> object:
    return client.ping()  # type: ignore[func-returns-value]


@pytest.mark.parametrize("call", [call_schema, call_ping])
def test_a_registry_that_is_down_is_unavailable(call: Callable[[RegistryClient], object]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RegistryUnavailable, match=r"Is it running\? The address is the setting registry\.url"):
        call(RegistryClient(url))


def test_a_registry_that_says_nothing_is_unavailable_after_the_timeout() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = RegistryClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.2)
        with pytest.raises(RegistryUnavailable, match=r"within 0\.2 s"):
            client.ping()


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1:1", "http://[", "http://127.0.0.1:99999"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(RegistryUnavailable, match=r"registry\.url"):
        RegistryClient(url).ping()


def test_subjects_versions_and_latest_come_from_a_real_registry(kafka_registry: EmbeddedRegistry) -> None:
    client = RegistryClient(kafka_registry.url)
    client.ping()
    first = client.register("listed", '"int"')
    second = client.register("listed", '"long"')
    assert "listed" in client.subjects()
    assert client.versions("listed") == [1, 2]
    assert client.latest("listed") == (2, second, '"long"')
    assert client.schema(first) == '"int"'
    client.close()
    assert client.lookup("listed", '"int"') == first


def test_importing_the_client_does_not_load_httpx() -> None:
    program = "import sys, ottla.registry; sys.exit('httpx' in sys.modules or 'starlette' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_schema_with_references_is_read_by_its_id_alone(kafka_registry: EmbeddedRegistry) -> None:
    """Two steps deep, with names of two namespaces: what is read by id is enough to decode."""

    def register(subject: str, schema: dict[str, Any], **references: str) -> None:
        body = {
            "schema": json.dumps(schema),
            "references": [{"name": name, "subject": of, "version": 1} for name, of in references.items()],
        }
        httpx.post(f"{kafka_registry.url}/subjects/{subject}/versions", json=body).raise_for_status()

    city = {"type": "record", "name": "City", "namespace": "geo", "fields": [{"name": "name", "type": "string"}]}
    person = {
        "type": "record",
        "name": "Person",
        "namespace": "people",
        "fields": [{"name": "home", "type": "geo.City"}, {"name": "work", "type": ["null", "geo.City"]}],
    }
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [
            {"name": "by", "type": "people.Person"},
            {"name": "to", "type": {"type": "array", "items": "geo.City"}},
        ],
    }
    register("ref-city", city)
    register("ref-person", person, **{"geo.City": "ref-city"})
    register("ref-order", order, **{"people.Person": "ref-person", "geo.City": "ref-city"})
    found = httpx.get(f"{kafka_registry.url}/subjects/ref-order/versions/1").json()["id"]

    written = io.BytesIO()
    value = {"by": {"home": {"name": "Leeds"}, "work": None}, "to": [{"name": "Ulm"}, {"name": "Bonn"}]}
    fastavro.schemaless_writer(written, fastavro.parse_schema(_spelled_out(order, [city, person])), value)
    payload = wire.prefix(found) + written.getvalue()
    deserializer = Deserializer(RegistryClient(kafka_registry.url))
    assert deserializer.record_name(payload) == "shop.Order"
    assert deserializer.decode_to_dict(payload) == value


def _spelled_out(order: dict[str, Any], named: list[dict[str, Any]]) -> dict[str, Any]:
    """The schema with each type where its name stands first, for fastavro."""
    left = {f"{one['namespace']}.{one['name']}": one for one in named}

    def spell(schema: Any) -> Any:
        if isinstance(schema, str):
            return spell(left.pop(schema)) if schema in left else schema
        if isinstance(schema, list):
            return [spell(branch) for branch in schema]
        if schema["type"] == "array":
            return {**schema, "items": spell(schema["items"])}
        return {**schema, "fields": [{**one, "type": spell(one["type"])} for one in schema["fields"]]}

    spelled: dict[str, Any] = spell(order)
    return spelled
