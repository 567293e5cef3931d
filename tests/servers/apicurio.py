"""The Apicurio Registry, which speaks Confluent's REST API, too: so that tests test the protocol and not ourselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.process import ServerProcess, run_command
from ottla.testing.server import HOST, Server

JAVA_MIN = 21
_READY = re.compile(r"Listening on: http://")


class Apicurio(Server):
    """One Apicurio Registry on loopback, in memory. Ready in some ten seconds.

    Raises:
        ServerFailed: It is not there (`tools/apicurio/fetch`), or no Java that is new enough.
    """

    name = "Apicurio Registry"
    start_timeout_s = 90.0

    def __init__(self) -> None:
        home = os.environ.get("OTTLA_APICURIO_HOME")
        found = [Path(home)] if home else sorted(Path("~/.cache/ottla").expanduser().glob("apicurio-*"))
        jars = [folder / "quarkus-run.jar" for folder in found if (folder / "quarkus-run.jar").is_file()]
        if not jars:
            raise ServerFailed("no Apicurio Registry in ~/.cache/ottla; run tools/apicurio/fetch")
        self._jar = jars[-1]
        self._java = java()
        super().__init__()

    @property
    def url(self) -> str:
        """Where clients of Confluent's find it."""
        return f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def _launch(self, log: Path) -> ServerProcess:
        self.data_dir.mkdir(exist_ok=True)
        options = [
            "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx400m",
            f"-Dquarkus.http.host={HOST}", f"-Dquarkus.http.port={self.port}",
        ]  # fmt: skip
        command = run_command(self._java, *options, "-jar", str(self._jar))
        process = ServerProcess(self.name, command, log=log)
        process.wait_for_line(_READY, self.start_timeout_s)
        return process


def java() -> str:
    """A Java that is new enough.

    Raises:
        ServerFailed: There is none.
    """
    named = [shutil.which("java"), *map(str, sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True))]
    home = os.environ.get("JAVA_HOME")
    for candidate in dict.fromkeys(filter(None, [home and f"{home}/bin/java", *named])):
        told = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False).stderr
        found = re.search(r'version "(\d+)', told)
        if found is not None and int(found[1]) >= JAVA_MIN:
            return candidate
    raise ServerFailed(f"the Apicurio Registry needs Java {JAVA_MIN} or newer, and there is none here")
