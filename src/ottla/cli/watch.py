"""Tells which services' code has changed, through watchfiles (the extra `reload`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ottla.errors import ConfigurationError

# An editor writes several files at once and some of them twice: changes within this time are one change.
GATHER_MS = 200
FIRST_REPORT_MS = 200


def require_watchfiles() -> None:
    """Raises ConfigurationError where watchfiles is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError(
            "restarting services when their code changes needs the package watchfiles: "
            "pip install 'ottla[reload]', or go without with --no-reload"
        ) from None


class CodeWatch:
    """Watches from a thread of its own. Use it with `with`.

    A change counts if it is of a Python file below a watched folder, or of a file that is itself watched.

    Args:
        watched: Service name to its folders and files, all absolute. A file need not exist yet.
        changed: Called on the watching thread with the services concerned and the files that changed.
    """

    def __init__(self, watched: Mapping[str, Sequence[Path]], changed: Callable[[list[str], list[Path]], None]) -> None:
        self._watched = watched
        self._changed = changed
        self._stopping = threading.Event()
        self._watching = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._watch, name="code-watch", daemon=True)

    def __enter__(self) -> CodeWatch:
        """Returns once a change would be seen.

        Raises:
            ConfigurationError: The system does not let us watch (too many files, for example).
        """
        self._thread.start()
        self._watching.wait()
        if self._failure is not None:
            raise ConfigurationError(
                f"code cannot be watched for changes: {self._failure}; name fewer folders in `watch`, "
                "or go without with --no-reload"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def concerned(self, path: Path) -> list[str]:
        """The services for which a change of `path` counts."""
        return [name for name, places in self._watched.items() if any(_counts(path, place) for place in places)]

    def _watch(self) -> None:
        try:
            self._report_changes()
        except OSError as error:
            self._failure = error
        finally:
            self._watching.set()

    def _report_changes(self) -> None:
        from watchfiles import DefaultFilter, watch

        # Knows virtual environments, caches and version control.
        ignoring = DefaultFilter()
        roots = {place if place.is_dir() else place.parent for places in self._watched.values() for place in places}
        changes = watch(
            *roots,
            watch_filter=lambda change, path: ignoring(change, path) and bool(self.concerned(Path(path))),
            debounce=GATHER_MS,
            stop_event=self._stopping,
            # The first report, even an empty one, tells that watching has begun.
            rust_timeout=FIRST_REPORT_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for change in changes:
            self._watching.set()
            if not change:
                continue
            paths = sorted({Path(path) for _kind, path in change})
            names = {name for path in paths for name in self.concerned(path)}
            self._changed([name for name in self._watched if name in names], paths)


def _counts(path: Path, place: Path) -> bool:
    return path == place or (path.suffix == ".py" and path.is_relative_to(place))
