"""`python -m bench peers`: the same topic of real orders read by Ottla and by other frameworks, on the embedded broker
and on Apache Kafka.

All acknowledge after handling. FastStream commits each message (AckPolicy.ACK); Quix Streams and Faust commit every
second, like Ottla; spring-kafka after each poll. The Python ones decode with fastavro, spring-kafka with Apache Avro.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from bench.commands import note
from bench.listener import AIOKAFKA, ASYNC, BATCH, POLL, SYNC, Figures, details, lowest_ratio, text
from bench.peers_env import peers_python, spring_command
from bench.reading import Program, Spring, full_topic, run_program
from bench.report import Bar, Report
from bench.targets import embedded, kafka
from ottla.testing import EmbeddedRegistry

PARTITIONS = (1, 6)
FASTSTREAM_CONFLUENT = Program("FastStream on confluent-kafka", "faststream_app", "confluent", share=0.01)
FASTSTREAM_AIOKAFKA = Program("FastStream on aiokafka", "faststream_app", "aiokafka", share=0.01)
QUIX = Program("Quix Streams", "quix_app", share=0.1)
FAUST = Program("Faust", "faust_app", share=0.02)
SPRING_RECORD = Spring("spring-kafka, record listener", "", "record")
SPRING_BATCH = Spring("spring-kafka, batch listener", "", "batch")
PYTHON_PEERS = (FASTSTREAM_CONFLUENT, FASTSTREAM_AIOKAFKA, QUIX, FAUST)


def run(options: argparse.Namespace) -> Report:
    python, java = peers_python(), spring_command()
    springs = () if java is None else (SPRING_RECORD, SPRING_BATCH)
    tables: dict[str, Figures] = {}
    for target, broker in (("embedded", embedded()), ("kafka", kafka())):
        with broker, EmbeddedRegistry(broker.bootstrap_servers) as registry:
            for partitions in PARTITIONS:
                figures: Figures = {}
                with full_topic(
                    broker.bootstrap_servers, registry.url, partitions, options.records, options.orders
                ) as job:
                    for _ in range(options.runs):
                        for program in (POLL, AIOKAFKA, SYNC, ASYNC, BATCH, *PYTHON_PEERS, *springs):
                            found = run_program(_ready(program, python, java), job)
                            figures.setdefault(program, []).append(found)
                            note(f"{target} {partitions}p {program.name}: {found.per_second:,.0f}/s")
                tables[f"{target} {partitions}p"] = figures
    bars = [
        lowest_ratio("listener_vs_faststream_confluent", SYNC, FASTSTREAM_CONFLUENT, tables, at_least=50),
        lowest_ratio("listener_vs_faststream_aiokafka", SYNC, FASTSTREAM_AIOKAFKA, tables),
        lowest_ratio("listener_vs_quix", SYNC, QUIX, tables),
        lowest_ratio("listener_vs_faust", SYNC, FAUST, tables),
    ]
    return Report("peers", bars + _spring_bars(tables, springs), details(tables), text(tables))


def _spring_bars(tables: dict[str, Figures], springs: tuple[Program, ...]) -> list[Bar]:
    if not springs:
        return []
    return [
        lowest_ratio("listener_vs_spring_kafka", SYNC, SPRING_RECORD, tables),
        lowest_ratio("batch_listener_vs_spring_kafka_batch", BATCH, SPRING_BATCH, tables),
    ]


def _ready(program: Program, python: str, java: list[str] | None) -> Program:
    """The program with what it runs in."""
    if isinstance(program, Spring):
        return replace(program, java=tuple(java or ()))
    return replace(program, python=python) if program in PYTHON_PEERS else program
