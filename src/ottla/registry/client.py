"""A client for any schema registry that speaks Confluent's REST API.

The well-kept Confluent client (`confluent_kafka.schema_registry`) is not used in the base install: it needs the extras
authlib and cryptography, which alone would push the install over its budget of 60 MB. This one needs httpx, which it
loads at the first request.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ..errors import RegistryRejected, RegistryUnavailable

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"

_ADVICE = {
    40401: "Nothing is registered for this subject: publish once with registry.auto_register, or register the schema.",
    40402: "List the versions there are with GET /subjects/{subject}/versions.",
    40403: "The schema is not registered there: register it first, or turn registry.auto_register on.",
    40901: "Change the event so that both can read each other (give a new field a default), or relax the subject's "
    "compatibility.",
    409: "Change the event so that both can read each other (give a new field a default), or relax the subject's "
    "compatibility.",
    42205: "The registry is in a read-only mode.",
    401: "The registry asks for credentials.",
    403: "The credentials do not allow this.",
}


class RegistryClient:
    """Registers, looks up and fetches schemas. Blocking and thread-safe; one connection pool for all threads.

    What has an id never changes, so answers are kept for ever: text by id, id by (subject, text). Retrying is the
    caller's matter. Implements `ottla.serde.registry.SchemaRegistry`.

    Args:
        url: The registry's address (`http://127.0.0.1:8081`), a path in it included.
        timeout: Seconds for one request.

    Raises:
        RegistryUnavailable: From every method: no answer in time, or the registry failed inside (HTTP 5xx).
        RegistryRejected: From every method: an answer, and it is no (HTTP 4xx), with Confluent's error code.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        self._schemas: dict[int, str] = {}
        self._ids: dict[tuple[str, str], int] = {}

    def register(self, subject: str, schema: str) -> int:
        """Registers `schema` (JSON text) under `subject` unless it is there already; returns its id either way."""
        return self._id(subject, schema, f"/subjects/{quote(subject, safe='')}/versions", "schema not registered")

    def lookup(self, subject: str, schema: str) -> int:
        """The id of `schema` under `subject`, without registering anything."""
        return self._id(subject, schema, f"/subjects/{quote(subject, safe='')}", "schema not found")

    def schema(self, schema_id: int) -> str:
        """The text of the schema with this id."""
        known = self._schemas.get(schema_id)
        if known is None:
            answer = self._request("GET", f"/schemas/ids/{schema_id}", f"schema id {schema_id} not found")
            known = self._schemas[schema_id] = self._part(answer, "schema", str)
        return known

    def ping(self) -> None:
        """Returns if the registry answers."""
        self._request("GET", "/schemas/types", "no sign of life")

    def subjects(self) -> list[str]:
        """The subjects that have a version."""
        found: list[str] = self._request("GET", "/subjects", "subjects not listed")
        return found

    def versions(self, subject: str) -> list[int]:
        """The subject's version numbers, ascending."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        found: list[int] = self._request("GET", path, f"subject {subject}: versions not listed")
        return found

    def latest(self, subject: str) -> tuple[int, int, str]:
        """The subject's newest version: (version, id, schema text)."""
        path = f"/subjects/{quote(subject, safe='')}/versions/latest"
        found = self._request("GET", path, f"subject {subject}: no latest version")
        return self._part(found, "version", int), self._part(found, "id", int), self._part(found, "schema", str)

    def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        with self._lock:
            http, self._http = self._http, None
        if http is not None:
            http.close()

    def _id(self, subject: str, schema: str, path: str, failed: str) -> int:
        known = self._ids.get((subject, schema))
        if known is None:
            answer = self._request("POST", path, f"subject {subject}: {failed}", {"schema": schema})
            known = self._ids[subject, schema] = self._part(answer, "id", int)
        return known

    def _request(self, method: str, path: str, failed: str, body: dict[str, Any] | None = None) -> Any:
        import httpx  # loaded here: it is a tenth of a second that no importer should pay

        content = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": CONTENT_TYPE} if body is not None else {}
        try:
            response = self._client().request(method, path, content=content, headers=headers)
        except httpx.InvalidURL as error:
            raise RegistryUnavailable(f"{self.url!r} is not a URL ({error}). The setting is registry.url.") from error
        except httpx.TransportError as error:
            raise RegistryUnavailable(
                f"{failed}: no answer from the schema registry at {self.url} within {self.timeout:g} s "
                f"({type(error).__name__}: {error}). Is it running? The address is the setting registry.url."
            ) from error
        if response.status_code >= 500:
            _, reason = _refusal(response)
            raise RegistryUnavailable(
                f"{failed}: the schema registry at {self.url} failed with HTTP {response.status_code}: {reason}"
            )
        if response.status_code >= 300:
            code, reason = _refusal(response)
            advice = _ADVICE.get(code, "")
            raise RegistryRejected(
                f"{failed}: the schema registry at {self.url} answered {code}: {reason.rstrip('.')}. {advice}".rstrip(),
                status=response.status_code,
                code=code,
            )
        try:
            return response.json()
        except ValueError:
            raise self._stranger(response.text) from None

    def _part(self, answer: Any, name: str, kind: type[T]) -> T:
        found = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(found, kind):
            raise self._stranger(json.dumps(answer))
        return found

    def _stranger(self, answer: str) -> RegistryUnavailable:
        return RegistryUnavailable(
            f"what answers at {self.url} is not a schema registry (it said {answer[:80]!r}). The address is the "
            f"setting registry.url."
        )

    def _client(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._http is None:
                self._http = httpx.Client(
                    base_url=self.url,
                    timeout=self.timeout,
                    headers={"Accept": f"{CONTENT_TYPE}, application/json"},
                    # Certificates are loaded only where they are looked at: it takes 40 ms and some megabytes.
                    verify=not self.url.lower().startswith("http:"),
                )
            return self._http


def _refusal(response: httpx.Response) -> tuple[int, str]:
    """The error code and message of an answer; the status and the text where it is not in Confluent's shape."""
    try:
        body = response.json()
        return int(body["error_code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return response.status_code, response.text[:200] or response.reason_phrase
