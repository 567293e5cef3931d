"""Apache Kafka's command-line tools, one after another in one JVM: most take a fraction of its start-up time."""

from __future__ import annotations

import contextlib
import select
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ottla.testing.process import run_command

SOURCE = Path(__file__).with_name("JavaTools.java")
OPTIONS = ("--add-opens=java.base/java.lang=ALL-UNNAMED",)
FAILURES_MAX = 3
_INT = struct.Struct(">i")


class JavaTools:
    """A JVM that runs `main` methods when asked, one at a time; it ends with this process.

    Whatever a tool would do to the JVM (its exit status, shutdown hooks, its standard streams) happens to that run
    alone. A tool that runs into its time limit costs a new start.

    Args:
        java: The start of the command: `java`, its options and class path.
    """

    def __init__(self, java: Sequence[str]) -> None:
        self._java = java
        self._lock = threading.Lock()
        self._jvm: subprocess.Popen[bytes] | None = None
        self._failures = 0

    def run(
        self, main: str, arguments: Sequence[str], stdin: str, timeout_s: float
    ) -> subprocess.CompletedProcess[str] | None:
        """Runs a tool. None if that cannot be had now: another tool is running, or the JVM ended.

        Raises:
            subprocess.TimeoutExpired: It did not end in time; the JVM was killed.
        """
        if self._failures == FAILURES_MAX or not self._lock.acquire(blocking=False):
            return None
        try:
            return self._run(main, arguments, stdin, time.monotonic() + timeout_s, timeout_s)
        except (EOFError, BrokenPipeError):
            self._failures += 1  # no answer: `java` has no compiler, or the tool ended the JVM after all
            self._end()
            return None
        finally:
            self._lock.release()

    def _run(
        self, main: str, arguments: Sequence[str], stdin: str, deadline: float, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        jvm = self._started()
        assert jvm.stdin is not None
        strings = [text.encode() for text in (main, stdin, *arguments)]
        jvm.stdin.write(_INT.pack(len(strings)) + b"".join(_INT.pack(len(text)) + text for text in strings))
        jvm.stdin.flush()
        try:
            status = self._number(jvm, deadline)
            out, err = (self._exactly(jvm, self._number(jvm, deadline), deadline) for _ in range(2))
        except TimeoutError:
            self._end()
            raise subprocess.TimeoutExpired([main, *arguments], timeout_s) from None
        text = [part.decode("utf-8", "replace") for part in (out, err)]
        return subprocess.CompletedProcess([main, *arguments], status, *text)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._jvm is None or self._jvm.poll() is not None:
            # A session of its own, like every server's: Ctrl-C is for the tests.
            self._jvm = subprocess.Popen(
                run_command(self._java[0], *OPTIONS, *self._java[1:], str(SOURCE)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        return self._jvm

    def _number(self, jvm: subprocess.Popen[bytes], deadline: float) -> int:
        (value,) = _INT.unpack(self._exactly(jvm, _INT.size, deadline))
        return int(value)

    def _exactly(self, jvm: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        assert jvm.stdout is not None
        data = b""
        while len(data) < size:
            ready, _, _ = select.select([jvm.stdout], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            piece = jvm.stdout.read(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _end(self) -> None:
        jvm, self._jvm = self._jvm, None
        if jvm is not None:
            jvm.kill()
            jvm.wait()
            for pipe in (jvm.stdin, jvm.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
