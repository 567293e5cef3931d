"""Every exception Ottla raises, in one tree.

OttlaError
    ConfigurationError          a setting is missing, malformed or contradicts another
        PortInUse               a server could not listen; says which setting changes the port
    EventDefinitionError        a class cannot be an event (no @event, no key field, a type without a schema)
    SerdeError
        EncodeError             an event does not fit its own schema
        DecodeError             bytes on a topic are not what they should be; says where
            UnknownEventType    the bytes are well formed, but the service does not know the type
    RegistryError
        RegistryUnavailable     no answer, try again later
        RegistryRejected        an answer, and it is no
    KafkaError
        BrokerUnavailable       no broker answers, try again later
        PublishError            a record was not acknowledged
        TransactionAborted      rolled back, nothing of it is visible
        ProducerFenced          another producer took over the transactional id
    HandlerError                a handler failed for good
        BatchFailed             a batch handler failed at one record
    NotNow                      a handler cannot take its record yet; raised by middleware and inboxes, never fatal
    RequestError                a request over Kafka got no answer
        RequestTimeout          nobody answered in time
        RequestFailed           whoever handled it failed, and says why
    StreamsError                something about stream processing
        TopologyError           a topology cannot be built, or not run as it is
        StreamsFailed           a record failed in a stream application and nothing was to be done about it; says where
        StateUnavailable        no instance can answer a query of a store now, or none recently enough
        HistoryBroken           an aggregate's events are not all there, or do not fit
    AggregateError              an event-sourced aggregate did not do what it was told
        Refused                 it says no, for a reason of the business
        VersionConflict         it has changed since the caller looked
    BrokerError                 the embedded broker cannot start or go on
        DataFolderLocked        another process serves the same data folder
        CorruptLog              stored data is damaged in the middle
    ServerFailed                a server started for tests did not come up, or died
    ProcessError                a supervised child process
        ProcessExited           it ended before it was ready
        ProcessNotReady         it runs, but was not ready in time

An error says what happened, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence


class OttlaError(Exception):
    """The root: `except OttlaError` catches whatever Ottla raises on purpose."""


class ConfigurationError(OttlaError):
    """A setting is missing, malformed, or contradicts another. The message lists every fault at once."""


class PortInUse(ConfigurationError):
    """A server could not listen because its port is taken.

    Args:
        what: The server, in words (`"embedded broker"`).
        host: The address.
        port: The port.
        setting: How to choose another port (`"--port or OTTLA_HTTP__PORT"`).
    """

    def __init__(self, what: str, host: str, port: int, setting: str) -> None:
        self.host = host
        self.port = port
        super().__init__(
            f"{what}: port {port} on {host} is already in use by another process. "
            f"Stop that process, or choose another port with {setting} (0 picks a free one)."
        )


class EventDefinitionError(OttlaError):
    """A class cannot be an event: no `@event`, a key that is not a field, or a type no schema can be derived from."""


class SerdeError(OttlaError):
    """Something about turning events into bytes or back."""


class EncodeError(SerdeError):
    """An event does not fit its own schema. The message names the field and the value's type.

    Attributes:
        index: Which of many events it is, where many were written at once; else None.
    """

    index: int | None = None


class DecodeError(SerdeError):
    """Bytes on a topic are not what they should be.

    Attributes:
        topic, partition, offset: Where the record lies; None where the caller has no record.
        schema_id: The id in the wire header; None if even that could not be read.
        position: The byte position within the value at which reading failed; None if unknown.
        index: Which of many payloads it is, where many were read at once; else None.
    """

    index: int | None = None

    def __init__(
        self,
        message: str,
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        schema_id: int | None = None,
        position: int | None = None,
    ) -> None:
        self.message = message
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.schema_id = schema_id
        self.position = position
        super().__init__(message)

    def at(self, topic: str, partition: int, offset: int) -> DecodeError:
        """Fills in where the record lies and gives the error itself back, for `raise error.at(...)`."""
        self.topic, self.partition, self.offset = topic, partition, offset
        return self

    def __str__(self) -> str:
        parts = []
        if self.topic is not None:
            parts.append(f"topic {self.topic}, partition {self.partition}, offset {self.offset}")
        if self.schema_id is not None:
            parts.append(f"schema id {self.schema_id}")
        if self.position is not None:
            parts.append(f"byte {self.position}")
        if self.index is not None:
            parts.append(f"payload {self.index}")
        return f"{self.message} ({', '.join(parts)})" if parts else self.message


class UnknownEventType(DecodeError):
    """The bytes are well formed, but the service declares no such event type for this topic."""


class RegistryError(OttlaError):
    """Something about the schema registry."""


class RegistryUnavailable(RegistryError):
    """The schema registry gave no answer (refused, timed out, or failed inside). Trying again later may work."""


class RegistryRejected(RegistryError):
    """The schema registry answered no.

    Attributes:
        status: HTTP status.
        code: The registry's own error code (40401, 40901, 42201, ...), or the status where it gave none.
    """

    def __init__(self, message: str, *, status: int, code: int) -> None:
        self.status = status
        self.code = code
        super().__init__(message)


class KafkaError(OttlaError):
    """Something about the Kafka cluster."""


class BrokerUnavailable(KafkaError):
    """No broker answers at the bootstrap servers. Trying again later may work."""


class PublishError(KafkaError):
    """A record was not acknowledged: it may or may not be in the log. The message names topic and cause."""


class TransactionAborted(KafkaError):
    """A Kafka transaction was rolled back: nothing of it is visible to readers of committed records. Doing it again is
    safe."""


class ProducerFenced(KafkaError):
    """Another producer with the same transactional id has taken over: this one may write no more."""


class HandlerError(OttlaError):
    """A handler failed for good (attempts used up, or an exception that is never retried)."""


class BatchFailed(HandlerError):
    """A handler of batches raises it to say at which record it failed: those before it are handled, it is retried or
    dead-lettered, the others go on.

        for index, order in enumerate(orders):
            try:
                store(order)
            except Exception as error:
                raise BatchFailed(index, error) from error

    Args:
        index: Which of the events, from 0.
        error: What went wrong with it: retries and dead letters go by this one.
        answers: What to publish for those before it, one entry per event; nothing if it is left out.
    """

    def __init__(self, index: int, error: Exception, answers: Sequence[object] = ()) -> None:
        self.index = index
        self.error = error
        self.answers = answers
        super().__init__(f"event {index} of a batch: {type(error).__name__}: {error}")


class StreamsError(OttlaError):
    """Something about stream processing."""


class TopologyError(StreamsError):
    """A topology cannot be built (a name used twice, a serde nobody named, topics that are not co-partitioned), or not
    run as it is. The message names the operators and topics."""


class StateUnavailable(StreamsError):
    """No instance can answer a query of a store now (tasks are moving, or nobody runs), or none recently enough. Trying
    again may work."""


class StreamsFailed(StreamsError):
    """A record failed in a stream application, and the error handler said to fail.

    Attributes:
        operator: The operator it failed in.
        topic, partition, offset: The input record; None where it was no record (a punctuation).
    """

    def __init__(
        self, message: str, *, operator: str, topic: str | None = None, partition: int = -1, offset: int = -1
    ) -> None:
        self.operator = operator
        self.topic, self.partition, self.offset = topic, partition, offset
        where = f" (topic {topic}, partition {partition}, offset {offset})" if topic is not None else ""
        super().__init__(f"operator {operator}: {message}{where}")


class NotNow(OttlaError):
    """A handler cannot take its record yet: the record waits, and is handed over again. No attempt is counted, nothing
    is dead-lettered, however often it happens.

    Attributes:
        wait_s: Seconds until it is worth another try.
    """

    def __init__(self, message: str, *, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(message)


class RequestError(OttlaError):
    """A request over Kafka got no answer."""


class RequestTimeout(RequestError):
    """Nobody answered in time. The request may have been handled all the same, or may yet be."""


class RequestFailed(RequestError):
    """Whoever handled the request failed for good and answered with that. The message is theirs.

    Attributes:
        kind: The full name of their exception (`shop.errors.NoSuchOrder`).
        value: What the answer holds besides, as bytes; None where it holds nothing.
    """

    def __init__(self, message: str, *, kind: str, value: bytes | None = None) -> None:
        self.kind = kind
        self.value = value
        super().__init__(message)


class HistoryBroken(StreamsError):
    """The events of an aggregate are not all there, cannot be read, or are in an order its appliers do not take."""


class AggregateError(OttlaError):
    """An event-sourced aggregate did not do what it was told. Nothing has happened."""


class Refused(AggregateError):
    """An aggregate says no to a command. Raised by deciders, and by `AggregateApp.tell` where one of them raised it.

    Attributes:
        kind: The class it was raised as, with its module; for whoever told the command from another process.
    """

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        self.kind = kind or f"{type(self).__module__}.{type(self).__qualname__}"
        super().__init__(message)


class VersionConflict(AggregateError):
    """An aggregate has another version than the command was made for: look again, and decide again.

    Attributes:
        key: Which one.
        expected, actual: The version the command names, and the one there is.
    """

    def __init__(self, key: str, expected: int, actual: int) -> None:
        self.key, self.expected, self.actual = key, expected, actual
        super().__init__(f"{key} has version {actual} by now, and the command is for version {expected}")


class BrokerError(OttlaError):
    """The embedded broker cannot start or cannot go on."""


class DataFolderLocked(BrokerError):
    """Another process serves the same data folder."""


class CorruptLog(BrokerError):
    """Stored data is damaged in the middle, where cutting it off would lose acknowledged records."""


class ProcessError(OttlaError):
    """Something about a child process that Ottla started. The message names its log file."""


class ProcessExited(ProcessError):
    """A child process ended before it was ready. The message holds the last lines of its log."""


class ProcessNotReady(ProcessError):
    """A child process runs, but was not ready in time."""


class ServerFailed(OttlaError):
    """A server that tests asked for did not come up, or died. The message ends with the last lines of its log."""
