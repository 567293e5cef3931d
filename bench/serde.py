"""Avro codecs side by side: fastavro, Confluent's serializers, msgspec's JSON, and Ottla's in Python and in C.

Every figure is the time for one message, measured over the same 64 different records, all codecs by turns in one
process. Ratios are taken within a round; each is the lower one of the two records.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import fastavro
import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from bench import serde_records
from bench.commands import note
from bench.report import Bar, Report
from ottla.events.schema import schema_text
from ottla.serde import Deserializer, Serializer
from ottla.serde.avro import ColumnReader, decode_many, decoder, encode_many, encoder
from ottla.serde.avro.engine import using
from ottla.serde.registry import Registered

RECORDS = 64
TURNS, PASSES = 5, 8  # of each codec in each round; a pass is over all records

Work = Callable[[], object]
Times = dict[str, float]


def run(options: argparse.Namespace) -> Report:
    rounds = max(7, options.runs)
    events: dict[str, Sequence[Any]] = {
        "order": serde_records.orders(RECORDS),
        "wide": serde_records.wides(RECORDS),
    }
    measured = {name: _rounds(name, _codecs(list(records)), rounds) for name, records in events.items()}
    return Report("serde", _bars(measured), _details(events, measured), _table(measured))


# -- what is measured --------------------------------------------------------------------------------------------------


def _codecs(events: list[Any]) -> dict[str, Work]:
    """For each codec a function that handles all records once."""
    cls = type(events[0])
    text = schema_text(cls)
    context = SerializationContext("topic", MessageField.VALUE)
    work: dict[str, Work] = {}
    with using("pure"):
        work |= _ours(events, "pure")
    with using("extension"):
        work |= _ours(events, "C")
        twin = _dataclass_twin(cls)
        read_twin = decoder(text, twin)
        payloads = [encoder(cls)(event) for event in events]
        work["decode: ottla C, to dataclasses"] = lambda: [read_twin(payload, 0) for payload in payloads]

        work |= _batches(events, payloads)
        registry = _Registry()
        serializer, deserializer = Serializer(registry), Deserializer(registry)
        values = [serializer.encode(event, "topic") for event in events]
        work["decode: ottla C, Deserializer"] = lambda: [deserializer.decode(value, cls) for value in values]
        work["encode: ottla C, Serializer"] = lambda: [serializer.encode(event, "topic") for event in events]
        # Whatever is asked for later is asked for here: a deserializer takes the codec of the moment.
        for each in work.values():
            each()

    plain = [serde_records.event_as_dict(event) for event in events]
    parsed = fastavro.parse_schema(json.loads(text))
    work["decode: fastavro"] = lambda: [
        fastavro.schemaless_reader(io.BytesIO(payload), parsed, None) for payload in payloads
    ]
    work["encode: fastavro"] = lambda: [_fastavro_write(parsed, one) for one in plain]

    theirs_out = AvroSerializer(registry.client, text, conf={"subject.name.strategy": record_subject_name_strategy})
    theirs_in = AvroDeserializer(registry.client, conf={"subject.name.strategy": record_subject_name_strategy})
    work["decode: confluent"] = lambda: [theirs_in(value, context) for value in values]
    work["encode: confluent"] = lambda: [theirs_out(one, context) for one in plain]

    documents = [msgspec.json.encode(event) for event in events]
    json_decode, json_encode = msgspec.json.Decoder(cls).decode, msgspec.json.Encoder().encode
    work["decode: msgspec JSON"] = lambda: [json_decode(document) for document in documents]
    work["encode: msgspec JSON"] = lambda: [json_encode(event) for event in events]
    return work


def _ours(events: list[Any], name: str) -> dict[str, Work]:
    cls = type(events[0])
    write, read = encoder(cls), decoder(schema_text(cls), cls)
    payloads = [write(event) for event in events]
    assert [read(payload, 0) for payload in payloads] == events
    return {
        f"decode: ottla {name}": lambda: [read(payload, 0) for payload in payloads],
        f"encode: ottla {name}": lambda: [write(event) for event in events],
    }


def _batches(events: list[Any], payloads: list[bytes]) -> dict[str, Work]:
    cls = type(events[0])
    write, read = encoder(cls), decoder(schema_text(cls), cls)
    columns = ColumnReader(schema_text(cls), ["order_id", "created_at", "customer_id"])
    # As many as a consumer fetches at once: with few, making the arrays would be most of the work.
    many = payloads * 16
    return {
        "decode: ottla C, decode_many": lambda: decode_many(read, payloads),
        "encode: ottla C, encode_many": lambda: encode_many(write, events),
        "decode: ottla C, 3 columns (x 16)": lambda: columns(many),
    }


def _dataclass_twin(cls: Any) -> type:
    """A dataclass with the fields of a Struct."""
    fields = [(f.name, f.type) for f in msgspec.structs.fields(cls)]
    return dataclasses.make_dataclass(cls.__name__, fields, slots=True)


def _fastavro_write(schema: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, value)
    return stream.getvalue()


class _Registry:
    """Ottla's port over the registry in memory that Confluent's client brings, so that both sides agree on ids."""

    def __init__(self) -> None:
        self.client = SchemaRegistryClient.new_client({"url": "mock://"})

    def register(self, subject: str, schema: str, kind: str = "AVRO") -> int:
        return int(self.client.register_schema(subject, Schema(schema, kind)))

    lookup = register

    def registered(self, schema_id: int) -> Registered:
        return Registered("AVRO", str(self.client.get_schema(schema_id).schema_str))

    def id_of_guid(self, guid: str) -> int:
        raise NotImplementedError("nothing here names a schema by its GUID")


# -- measuring ---------------------------------------------------------------------------------------------------------


def _rounds(record: str, work: dict[str, Work], rounds: int) -> list[Times]:
    """Microseconds for one message by each codec, in each round."""
    for one in work.values():
        one()
    times = []
    for number in range(rounds):
        note(f"{record}: round {number + 1} of {rounds}")
        # By turns, so that whatever else the machine does meanwhile hits all alike; a few passes each, as a consumer
        # reads one record after the other, not one of each codec's.
        passes: dict[str, list[float]] = {name: [] for name in work}
        for _ in range(TURNS):
            for name, one in work.items():
                passes[name] += [_seconds(one) for _ in range(PASSES)]
        times.append({name: statistics.median(passes[name]) / _messages(name) * 1e6 for name in work})
    return times


def _messages(name: str) -> int:
    return RECORDS * 16 if "(x 16)" in name else RECORDS


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


# -- reporting ---------------------------------------------------------------------------------------------------------

# name -> (the slower one, the faster one, the bar)
_RATIOS = {
    "decode_vs_fastavro": ("decode: fastavro", "decode: ottla C", 6),
    "decode_pure_vs_fastavro": ("decode: fastavro", "decode: ottla pure", 1.7),
    "encode_vs_fastavro": ("encode: fastavro", "encode: ottla C", 8),
    "encode_pure_vs_fastavro": ("encode: fastavro", "encode: ottla pure", 2.5),
    "decode_vs_confluent": ("decode: confluent", "decode: ottla C, Deserializer", 15),
    "decode_vs_msgspec_json": ("decode: msgspec JSON", "decode: ottla C", 1.0),
}


def _bars(measured: dict[str, list[Times]]) -> list[Bar]:
    bars = []
    for name, (slow, fast, bar) in _RATIOS.items():
        lowest = [min(times[slow] / times[fast] for times in pair) for pair in zip(*measured.values(), strict=True)]
        bars.append(Bar(name, lowest, "times", at_least=bar))
    return bars


def _medians(rounds: list[Times]) -> Times:
    return {name: statistics.median(times[name] for times in rounds) for name in rounds[0]}


def _details(events: dict[str, Sequence[Any]], measured: dict[str, list[Times]]) -> dict[str, Any]:
    with using("extension"):
        size = {name: round(statistics.mean(len(encoder(type(e))(e)) for e in es)) for name, es in events.items()}
    return {
        "microseconds_per_message": {
            record: {name: round(us, 3) for name, us in sorted(_medians(rounds).items())}
            for record, rounds in measured.items()
        },
        "bytes_per_message": size,
    }


def _table(measured: dict[str, list[Times]]) -> str:
    medians = {record: _medians(rounds) for record, rounds in measured.items()}
    names = sorted(next(iter(medians.values())), key=lambda name: (name[:6], -medians["wide"][name]))
    lines = [f"{'microseconds per message':40}" + "".join(f"{record:>10}" for record in medians)]
    lines += [f"{name:40}" + "".join(f"{times[name]:10.3f}" for times in medians.values()) for name in names]
    return "\n".join(lines)
