"""A throwaway PostgreSQL from the machine's own installation."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

from ottla.errors import ServerFailed
from ottla.testing.process import ServerProcess, run_command
from ottla.testing.server import HOST, Server

_READY = re.compile(r"database system is ready to accept connections")
_USER = "postgres"


def postgres_bin() -> Path:
    """The folder with `initdb` and `postgres`: on the PATH, or where Debian keeps them (newest version).

    Raises:
        ServerFailed: PostgreSQL is not installed, or this is root and no user `postgres` exists.
    """
    if os.geteuid() == 0 and not _has_user(_USER):
        raise ServerFailed(f"PostgreSQL does not run as root, and there is no user '{_USER}' to run it as")
    if (found := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(found).parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda path: float(path.parent.parent.name), default=None)
    if newest is None:
        raise ServerFailed("PostgreSQL is not installed (no initdb on the PATH nor in /usr/lib/postgresql)")
    return newest.parent


class Postgres(Server):
    """One PostgreSQL server on loopback, trusting everyone, not caring for power cuts."""

    name = "PostgreSQL"
    # "Fast shutdown": does not wait for clients to leave.
    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        self._bin = postgres_bin()
        super().__init__()

    @property
    def version(self) -> str:
        """As `postgres --version` says it: `15.13`."""
        said = subprocess.run([self._bin / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        return said.split()[2]

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{_USER}@{HOST}:{self.port}/{database}"

    def sql(self, statement: str) -> None:
        """Runs one statement as the superuser, in no transaction."""
        import psycopg

        with psycopg.connect(host=HOST, port=self.port, user=_USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement.encode())

    def _launch(self, log: Path) -> ServerProcess:
        if not self.data_dir.exists():
            self._initialise()
        options = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
        }
        arguments = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.data_dir), *arguments]
        process = ServerProcess(self.name, _as_server_user(*command), log=log, env={"LC_ALL": "C.UTF-8"})
        process.wait_for_line(_READY, self.start_timeout_s)
        return process

    def _initialise(self) -> None:
        self.data_dir.mkdir(mode=0o700)
        if os.geteuid() == 0:
            # Its folder and the temporary one above it, which is closed to others.
            shutil.chown(self.data_dir, _USER, _USER)
            shutil.chown(self.data_dir.parent, _USER, _USER)
        command = [str(self._bin / "initdb"), "--pgdata", str(self.data_dir), "--username", _USER]
        done = subprocess.run(
            _as_server_user(*command, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.data_dir.parent,
        )
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stdout}{done.stderr}")


def _as_server_user(*command: str) -> list[str]:
    if os.geteuid() != 0:
        return run_command(*command)
    # Changing the user clears the tie to the parent's life, so setpriv has to make it anew.
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--init-groups", "--pdeathsig=KILL", "--", *command]


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
