"""Where Apache Kafka's jars lie, and how to run a class of theirs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.java_tools import JavaTools

_CACHE = Path("~/.cache/ottla")
_BROKER_JAR = re.compile(r"kafka_[\d.]+-(?P<version>\d+(?:\.\d+)+)\.jar")
_HOW_TO_GET_IT = "run tools/kafka/fetch, or set OTTLA_KAFKA_HOME to the folder that holds Kafka's libs/"

_CLUSTER_ID = "b3R0bGEtdGVzdC1ub2RlLTE"

# Tests care for a quick start more than for speed later.
JVM_OPTIONS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
QUIET_JVM = ("-Xlog:disable", "-Xlog:all=error:stderr")

_LOG4J = """\
appender.out.type=Console
appender.out.name=out
appender.out.target={target}
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{{1}} %m%n
rootLogger.level={level}
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
# Hundreds of settings at every start, which push what happened out of the log's shown tail.
logger.configuration.name=org.apache.kafka.common.config.AbstractConfig
logger.configuration.level=WARN
"""


@dataclass(frozen=True)
class KafkaHome:
    """A folder of Apache Kafka's jars on a machine with Java.

    Attributes:
        libs: The folder of jars.
        version: Kafka's version, as the broker's jar names it.
        java: The `java` command.
    """

    libs: Path
    version: str
    java: str

    @classmethod
    def find(cls) -> KafkaHome:
        """Looks in `OTTLA_KAFKA_HOME`, then for the newest version under `~/.cache/ottla`.

        Raises:
            ServerFailed: No Java, or no jars; says what to do.
        """
        java = shutil.which("java")
        if java is None:
            raise ServerFailed("Apache Kafka needs Java 17 or newer, and there is no 'java' on the PATH")
        if configured := os.environ.get("OTTLA_KAFKA_HOME"):
            candidates = [Path(configured)]
        else:
            candidates = list(_CACHE.expanduser().glob("kafka-*"))
        found = [
            (tuple(map(int, match["version"].split("."))), match["version"], jar.parent)
            for home in candidates
            for jar in (home / "libs").glob("kafka_*.jar")
            if (match := _BROKER_JAR.fullmatch(jar.name))
        ]
        if not found:
            raise ServerFailed(f"no Apache Kafka in {configured or _CACHE}; {_HOW_TO_GET_IT}")
        _, version, libs = max(found)
        return cls(libs=libs, version=version, java=java)

    @classmethod
    def missing(cls) -> str | None:
        """Why there is no Apache Kafka to run here, or None if there is."""
        try:
            cls.find()
        except ServerFailed as failure:
            return str(failure)
        return None

    @property
    def archive(self) -> Path:
        """Where tools/kafka/archive keeps the JVM's class archive: it halves what a start of the broker costs.

        An archive fits one Java only, so its name holds which.
        """
        java = Path(self.java).resolve()
        stamp = hashlib.sha256(f"{java} {java.stat().st_mtime_ns}".encode()).hexdigest()[:12]
        return self.libs.parent / f"classes-{stamp}.jsa"

    def command(self, main: str, *arguments: str, heap: str = "128m", log4j: Path | None = None) -> list[str]:
        """The command that runs the class `main` with `arguments`, in a JVM with at most `heap`."""
        logging = [] if log4j is None else [f"-Dlog4j2.configurationFile={log4j}"]
        archive = self.archive
        # An archive that does not fit after all is passed over; the JVM would say so among the broker's output.
        shared = [f"-XX:SharedArchiveFile={archive}", *QUIET_JVM] if archive.exists() else []
        return [
            self.java,
            f"-Xmx{heap}",
            *JVM_OPTIONS,
            *shared,
            *logging,
            "-cp",
            f"{self.libs}/*",
            main,
            *arguments,
        ]

    def run(
        self,
        main: str,
        *arguments: str,
        stdin: str = "",
        timeout_s: float = 60.0,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command-line tool of Kafka's to its end and gives exit status and output.

        Tools share one JVM, one after another, which starts with the first of them and ends with this process. One with
        an `env`, or one that is started while another runs, has a JVM of its own.

        Args:
            main: The tool's class, such as `org.apache.kafka.tools.TopicCommand`.
            arguments: Its arguments.
            stdin: What it reads.
            timeout_s: How long it may take.
            env: Added to the environment.

        Raises:
            subprocess.TimeoutExpired: It did not end in time (and was killed).
        """
        if not env and (done := _tools(self).run(main, arguments, stdin, timeout_s)) is not None:
            return done
        return subprocess.run(
            self.command(main, *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **(env or {})},
        )


@cache
def _tools(home: KafkaHome) -> JavaTools:
    return JavaTools([home.java, "-Xmx256m", *JVM_OPTIONS, "-cp", f"{home.libs}/*"])


def format_storage(home: KafkaHome, configuration: Path, data_dir: Path) -> None:
    """Prepares a data folder, as KRaft wants it before the first start. Raises ServerFailed."""
    try:
        done = home.run("kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(configuration))
    except subprocess.TimeoutExpired as timeout:
        raise ServerFailed(f"Apache Kafka: formatting {data_dir} took over {timeout.timeout:g} s") from None
    if done.returncode != 0:
        raise ServerFailed(f"Apache Kafka: could not format {data_dir}:\n{done.stdout}{done.stderr}")


def write_log4j(path: Path, *, level: str, target: str = "SYSTEM_OUT") -> Path:
    """Writes a Log4j configuration that logs to the console, and gives its path back."""
    path.write_text(_LOG4J.format(level=level, target=target), "utf-8")
    return path
