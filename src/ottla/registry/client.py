"""A client for any schema registry that speaks Confluent's REST API.

The well-kept Confluent client (`confluent_kafka.schema_registry`) is not used in the base install: it needs the extras
authlib and cryptography, which alone would push the install over its budget of 60 MB. This one needs httpx, which it
loads at the first request.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from ..errors import ConfigurationError, RegistryRejected, RegistryUnavailable
from ..serde.registry import Registered

if TYPE_CHECKING:
    import httpx

    from ..settings import RegistrySettings

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
        basic_auth: `user:password`.
        bearer_token: A token.
        authorities: A PEM file with the authorities to trust over HTTPS.
        client_certificate: A PEM file with our own certificate and key.

    Raises:
        RegistryUnavailable: From every method: no answer in time, or the registry failed inside (HTTP 5xx).
        RegistryRejected: From every method: an answer, and it is no (HTTP 4xx), with Confluent's error code.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 5.0,
        basic_auth: str | None = None,
        bearer_token: str | None = None,
        authorities: str | None = None,
        client_certificate: str | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._authorization = _authorization(basic_auth, bearer_token)
        self._authorities = authorities
        self._client_certificate = client_certificate
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        self._schemas: dict[int, Registered] = {}
        self._versions: dict[tuple[str, int], Registered] = {}
        self._ids: dict[tuple[str, str, str], int] = {}
        self._guids: dict[str, int] = {}

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """Registers a schema's text under `subject` unless it is there already; returns its id either way."""
        path = f"/subjects/{quote(subject, safe='')}/versions"
        return self._id(subject, schema, kind, path, "schema not registered")

    def lookup(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        """The id of a schema under `subject`, without registering anything."""
        return self._id(subject, schema, kind, f"/subjects/{quote(subject, safe='')}", "schema not found")

    def schema(self, schema_id: int) -> str:
        """The text of the schema with this id."""
        return self.registered(schema_id).text

    def registered(self, schema_id: int) -> Registered:
        """The schema with this id, and what it refers to. An Avro schema comes with its references written out."""
        known = self._schemas.get(schema_id)
        if known is None:
            answer = self._request("GET", f"/schemas/ids/{schema_id}", f"schema id {schema_id} not found")
            known = self._schemas[schema_id] = self._registered(answer)
        return known

    def id_of_guid(self, guid: str) -> int:
        """The id of the schema with this globally unique id, in the default context if it is there."""
        if guid not in self._guids:
            answer = self._request("GET", f"/schemas/guids/{guid}/ids", f"schema {guid} not found")
            if not isinstance(answer, list) or not answer:
                raise self._stranger(json.dumps(answer))
            chosen = next((one for one in answer if one.get("context") == "."), answer[0])
            self._guids[guid] = self._part(chosen, "id", int)
        return self._guids[guid]

    def compatible(self, subject: str, schema: str, kind: str = "AVRO") -> list[str]:
        """Why a schema could not be registered under `subject` now, in the registry's words; empty if it could."""
        answer = self._request(
            "POST",
            f"/compatibility/subjects/{quote(subject, safe='')}/versions?verbose=true",
            f"subject {subject}: not compared",
            {"schema": schema, **_typed(kind)},
        )
        if self._part(answer, "is_compatible", bool):
            return []
        return [str(message) for message in answer.get("messages") or ["the registry does not say why"]]

    def level(self, subject: str) -> str:
        """The compatibility level in force for a subject."""
        path = f"/config/{quote(subject, safe='')}?defaultToGlobal=true"
        answer = self._request("GET", path, f"subject {subject}: no compatibility level")
        return self._part(answer, "compatibilityLevel", str)

    def version(self, subject: str, version: int | str = "latest") -> dict[str, Any]:
        """One version of a subject with everything the registry says of it."""
        path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
        found = self._request("GET", path, f"subject {subject}: no version {version}")
        self._part(found, "schema", str)
        return dict(found)

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

    def _id(self, subject: str, schema: str, kind: str, path: str, failed: str) -> int:
        known = self._ids.get((subject, schema, kind))
        if known is None:
            answer = self._request("POST", path, f"subject {subject}: {failed}", {"schema": schema, **_typed(kind)})
            known = self._ids[subject, schema, kind] = self._part(answer, "id", int)
        return known

    def _registered(self, answer: Any) -> Registered:
        kind = answer.get("schemaType") or "AVRO" if isinstance(answer, dict) else "AVRO"
        references: dict[str, str] = {}
        text = self._part(answer, "schema", str)
        for one in answer.get("references") or []:
            referred = self._reference(str(one["subject"]), int(one["version"]))
            references |= {name: found for name, found in referred.references.items() if name not in references}
            references[str(one["name"])] = referred.text
        if kind == "AVRO" and references:
            from .schema import parse  # only where it is needed: a service seldom meets such a schema

            return Registered(kind, parse(kind, text, references, strict=False).formatted("resolved"))
        return Registered(kind, text, references)

    def _reference(self, subject: str, version: int) -> Registered:
        """A version of a subject as others refer to it: with its own text, whatever it refers to in turn."""
        known = self._versions.get((subject, version))
        if known is None:
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}?deleted=true"
            answer = self._request("GET", path, f"subject {subject} version {version} not found")
            references: dict[str, str] = {}
            for one in answer.get("references") or []:
                referred = self._reference(str(one["subject"]), int(one["version"]))
                references |= {**referred.references, str(one["name"]): referred.text}
            known = Registered(answer.get("schemaType") or "AVRO", self._part(answer, "schema", str), references)
            self._versions[subject, version] = known
        return known

    def _request(self, method: str, path: str, failed: str, body: dict[str, Any] | None = None) -> Any:
        from ..http_client import httpx  # loaded here: it is a tenth of a second that no importer should pay

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
        from ..http_client import httpx

        with self._lock:
            if self._http is None:
                self._http = httpx.Client(
                    base_url=self.url,
                    timeout=self.timeout,
                    headers={"Accept": f"{CONTENT_TYPE}, application/json", **self._authorization},
                    # Certificates are loaded only where they are looked at: it takes 40 ms and some megabytes.
                    verify=False if self.url.lower().startswith("http:") else self._trust(),
                )
            return self._http

    def _trust(self) -> bool | ssl.SSLContext:
        if self._authorities is None and self._client_certificate is None:
            return True
        try:
            context = ssl.create_default_context(cafile=self._authorities)
            if self._client_certificate is not None:
                context.load_cert_chain(self._client_certificate)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"registry.authorities ({self._authorities}) or registry.client_certificate "
                f"({self._client_certificate}) cannot be used: {error}"
            ) from error
        return context


def client_for(settings: RegistrySettings) -> RegistryClient:
    """The client that the settings describe."""
    return RegistryClient(
        settings.url,
        timeout=settings.timeout_s,
        basic_auth=settings.basic_auth,
        bearer_token=settings.bearer_token,
        authorities=settings.authorities,
        client_certificate=settings.client_certificate,
    )


def _authorization(basic_auth: str | None, bearer_token: str | None) -> dict[str, str]:
    if bearer_token is not None:
        return {"Authorization": f"Bearer {bearer_token}"}
    if basic_auth is not None:
        return {"Authorization": f"Basic {base64.b64encode(basic_auth.encode()).decode()}"}
    return {}


def _typed(kind: str) -> dict[str, str]:
    """Registries that know only Avro need not know the attribute."""
    return {} if kind == "AVRO" else {"schemaType": kind}


def _refusal(response: httpx.Response) -> tuple[int, str]:
    """The error code and message of an answer; the status and the text where it is not in Confluent's shape."""
    try:
        body = response.json()
        return int(body["error_code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        return response.status_code, response.text[:200] or response.reason_phrase
