"""Where an application's state lies on this machine, and who may use which part of it.

    STATE_DIR/APPLICATION/
        instances/0/id            the first process here: its id, kept over restarts; locked while it runs
        locks/0_1.lock            one for each task; locked while a process has the task's folder open
        tasks/0_1/STORE/          RocksDB's files: sub-topology 0, partition 1

Several processes may share the folder: a task that moves between them finds its state there. Locks are the kernel's
(flock): a process that dies lets go of them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
import uuid
from pathlib import Path

from ottla.errors import ConfigurationError

log = logging.getLogger("ottla.streams")

STALE_S = 12 * 3600.0


class Lock:
    """An exclusive lock on a file. Lives as long as the process, unless released."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def taken(cls, path: Path) -> Lock | None:
        """The lock, or None if another holds it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor, path)

    def release(self) -> None:
        """Lets go. The file's time says when it was used last."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.utime(self._path)
            os.close(self._descriptor)
            self._descriptor = -1


class StateDirectory:
    """One application's folder, as one process uses it. Used from the stream thread only, but for `instance_id`.

    Args:
        state_dir: `streams.state_dir`.
        application_id: The application's name.

    Raises:
        ConfigurationError: The folder cannot be written.
    """

    def __init__(self, state_dir: str | Path, application_id: str) -> None:
        self.path = Path(state_dir) / application_id
        self._held: dict[str, Lock] = {}
        self._instance: Lock | None = None
        try:
            (self.path / "tasks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"state cannot be kept in {self.path}: {error}. Choose another folder: streams.state_dir"
            ) from error
        self.instance_id = self._claim_instance()

    def _claim_instance(self) -> str:
        """The id of this process: the first that no running process has. It comes back with the same id, hence with
        the same membership and the same transactions, which it then ends at once."""
        for number in range(10_000):
            folder = self.path / "instances" / str(number)
            lock = Lock.taken(folder / "lock")
            if lock is None:
                continue
            self._instance = lock
            file = folder / "id"
            known = file.read_text().strip() if file.exists() else ""
            if known:
                return known
            fresh = uuid.uuid4().hex
            # Whole or not at all: a torn id would be another instance's.
            (folder / "id.new").write_text(fresh)
            (folder / "id.new").replace(file)
            return fresh
        raise ConfigurationError(f"10,000 processes use {self.path} already")

    def folder(self, task: str, store: str) -> Path:
        """Where a store of a task lies. The task must be `claim`ed."""
        return self.path / "tasks" / task / store

    def claim(self, task: str) -> bool:
        """Takes a task's folder; False if another process has it still.

        What nobody has used for half a day is deleted first: the changelog may have forgotten meanwhile which keys
        were deleted (`delete.retention.ms`, a day), and they would come back.
        """
        if task in self._held:
            return True
        file = self._lock_file(task)
        used_at = file.stat().st_mtime if file.exists() else time.time()
        lock = Lock.taken(file)
        if lock is None:
            return False
        self._held[task] = lock
        folder = self.path / "tasks" / task
        if time.time() - used_at > STALE_S and folder.exists():
            log.warning("task %s: its state in %s is too old to be continued, and is restored anew", task, folder)
            shutil.rmtree(folder)
        os.utime(file)
        return True

    def release(self, task: str) -> None:
        """Lets go of a task's folder."""
        if (lock := self._held.pop(task, None)) is not None:
            lock.release()

    def clean(self, older_than_s: float) -> list[str]:
        """Deletes the folders of tasks that nobody has used for so long; gives their names. To be called every minute
        or so: it also notes which tasks are in use."""
        gone = []
        for task in self._held:
            os.utime(self._lock_file(task))
        for folder in sorted((self.path / "tasks").iterdir()):
            task = folder.name
            file = self._lock_file(task)
            with contextlib.suppress(OSError):
                if (
                    task in self._held
                    or time.time() - (file if file.exists() else folder).stat().st_mtime < older_than_s
                ):
                    continue
                lock = Lock.taken(file)
                if lock is None:
                    continue
                try:
                    shutil.rmtree(folder)
                    gone.append(task)
                finally:
                    lock.release()
        return gone

    def close(self) -> None:
        """Lets go of everything."""
        for task in list(self._held):
            self.release(task)
        if self._instance is not None:
            self._instance.release()
            self._instance = None

    def _lock_file(self, task: str) -> Path:
        return self.path / "locks" / f"{task}.lock"


def delete_state(state_dir: str | Path, application_id: str) -> bool:
    """Deletes all that an application has on this machine; whether there was anything.

    Raises:
        ConfigurationError: A process of the application is running here.
    """
    folder = Path(state_dir) / application_id
    if not folder.exists():
        return False
    for lock_file in sorted((folder / "instances").glob("*/lock")):
        lock = Lock.taken(lock_file)
        if lock is None:
            raise ConfigurationError(f"{application_id} is running on this machine with its state in {folder}: stop it")
        lock.release()
    shutil.rmtree(folder)
    return True
