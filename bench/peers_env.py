"""Environments of their own for the frameworks we compare ourselves with: they pin what we do not. All of them lie
outside the checkout, and are made where they are not there yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bench.commands import note

PACKAGES = ("faststream[confluent,kafka]>=0.6", "quixstreams>=3.20", "faust-streaming>=0.11", "fastavro>=1.9")
SPRING = Path(__file__).parent / "spring"
KAFKA_STREAMS = Path(__file__).parent / "kafka_streams"
HEAP = "1g"


def peers_python() -> str:
    """The interpreter of an environment with the Python peers.

    Raises:
        subprocess.CalledProcessError: They cannot be installed.
    """
    home = _cache() / f"peers-{sys.version_info[0]}.{sys.version_info[1]}"
    python, ready = home / "bin" / "python", home / "installed"
    wanted = "\n".join(PACKAGES)
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        note(f"installing {', '.join(PACKAGES)}")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True, stdout=sys.stderr)
        ready.write_text(wanted, "utf-8")
    return str(python)


def spring_command() -> list[str] | None:
    """The start of a command that runs bench/spring/Orders.java; None without Java's compiler or Maven.

    Raises:
        subprocess.CalledProcessError: Its jars cannot be had.
    """
    return _java_command(SPRING, "Orders", "spring")


def kafka_streams_command() -> list[str]:
    """The start of a command that runs bench/kafka_streams/Streams.java.

    Raises:
        SystemExit: There is no Java compiler, or no Maven.
        subprocess.CalledProcessError: Its jars cannot be had.
    """
    command = _java_command(KAFKA_STREAMS, "Streams", "bench-kafka-streams")
    if command is None:
        raise SystemExit("Kafka Streams needs a JDK (17 or newer) and Maven: java, javac, mvn on the PATH")
    return command


def _java_command(project: Path, main: str, name: str) -> list[str] | None:
    if not all(map(shutil.which, ("java", "javac", "mvn"))):
        return None
    home, pom = _cache() / name, project / "pom.xml"
    ready, wanted = home / "installed", pom.read_text("utf-8")
    if not ready.exists() or ready.read_text("utf-8") != wanted:
        note(f"getting the jars of {pom}")
        shutil.rmtree(home, ignore_errors=True)
        maven = ["mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies"]
        subprocess.run([*maven, "-DincludeScope=runtime", f"-DoutputDirectory={home}"], check=True, stdout=sys.stderr)
        ready.write_text(wanted, "utf-8")
    classes = home / "classes"
    subprocess.run(["javac", "-cp", f"{home}/*", "-d", str(classes), str(project / f"{main}.java")], check=True)
    return ["java", "-server", f"-Xmx{HEAP}", "-cp", f"{classes}:{home}/*", main]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "ottla"
