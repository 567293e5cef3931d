"""Committed state on disk, in RocksDB.

One database per store and task. Its default column family holds the store's keys as they are; a second one, `ottla`,
holds `changelog-offset` (8 bytes, big-endian) and `format`. A commit is one write batch over both, so a database is
always as it was at some commit, and says at which: kill -9 loses nothing of it, a power cut at most its last commits,
which the changelog gives back.
"""

from __future__ import annotations

import gc
import logging
import shutil
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ottla.errors import ConfigurationError, OttlaError
from ottla.streams.stores.base import Pair
from ottla.streams.stores.committed import CommittedStore

log = logging.getLogger("ottla.streams")

META = "ottla"
OFFSET_KEY = b"changelog-offset"
FORMAT_KEY = b"format"
FORMAT = b"1"

LOCK_WAIT_S = 5.0
"""An iterator that nobody uses any more keeps its database locked until it is collected."""


class RocksMemory:
    """The memory that all databases of a process share: blocks read, and writes not on disk yet."""

    def __init__(self, cache_bytes: int) -> None:
        rocksdict = _library()
        self.cache = rocksdict.Cache(cache_bytes)
        # What is in it when a process dies is read again, from RocksDB's own log, by the next one.
        self.write_buffer_bytes = max(1 << 20, min(8 << 20, cache_bytes // 8))


class RocksStore(CommittedStore):
    """A store's committed state in a folder of its own.

    A folder that cannot be opened, because it is damaged, is set aside and emptied: the changelog has everything.

    Args:
        folder: Where; created if missing.
        memory: Shared by all databases of the process.

    Raises:
        ConfigurationError: The extra `streams` is not installed.
        OttlaError: Another process has the folder open, or the disk refuses.
    """

    def __init__(self, folder: Path, memory: RocksMemory) -> None:
        self._folder = folder
        self._memory = memory
        self._rocksdict = _library()
        self._db: Any = None
        self._meta: Any = None
        self._meta_handle: Any = None
        self._offset: int | None = None
        try:
            self._start()
        except _Damaged as damage:
            log.error(
                "the store in %s is damaged and is restored from its changelog, from the beginning: %s", folder, damage
            )
            self.clear()

    def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._db = self._open(self._memory)
        try:
            # The first look into a file is where damage shows.
            self._meta = self._db.get_column_family(META)
            self._meta_handle = self._db.get_column_family_handle(META)
            found, stored = self._meta.get(FORMAT_KEY), self._meta.get(OFFSET_KEY)
        except Exception as error:
            raise _Damaged(str(error)) from error
        if found is None:
            batch = self._rocksdict.WriteBatch(raw_mode=True)
            batch.put(FORMAT_KEY, FORMAT, self._meta_handle)
            self._db.write(batch)
        elif found != FORMAT:
            raise _Damaged(f"its format is {found!r}, this version of Ottla writes {FORMAT!r}")
        self._offset = struct.unpack(">q", stored)[0] if stored is not None else None

    @property
    def changelog_offset(self) -> int | None:
        return self._offset

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        values: list[bytes | None] = self._db.get(list(keys))
        return values

    def range(self, low: bytes | None, high: bytes | None, *, reverse: bool = False) -> Iterator[Pair]:
        if reverse:
            pairs = self._db.items(backwards=True) if high is None else self._db.items(backwards=True, from_key=high)
            for key, value in pairs:
                if low is not None and key < low:
                    return
                if high is None or key < high:
                    yield key, value
            return
        for key, value in self._db.items() if low is None else self._db.items(from_key=low):
            if high is not None and key >= high:
                return
            yield key, value

    def apply(self, changes: Mapping[bytes, bytes | None], changelog_offset: int | None) -> None:
        batch = self._rocksdict.WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in changes.items():
            if value is None:
                delete(key)
            else:
                put(key, value)
        if changelog_offset is not None:
            put(OFFSET_KEY, struct.pack(">q", changelog_offset), self._meta_handle)
        self._db.write(batch)
        if changelog_offset is not None:
            self._offset = changelog_offset

    def clear(self) -> None:
        self.close()
        gc.collect()
        shutil.rmtree(self._folder)
        self._offset = None
        self._start()

    def approximate_count(self) -> int:
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def close(self) -> None:
        if self._db is not None:
            db, self._db, self._meta, self._meta_handle = self._db, None, None, None
            db.close()

    def _open(self, memory: RocksMemory) -> Any:
        rocksdict = self._rocksdict
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_write_buffer_size(memory.write_buffer_bytes)
        options.set_max_write_buffer_number(2)
        options.set_max_open_files(256)
        options.set_keep_log_file_num(1)
        options.set_compression_type(rocksdict.DBCompressionType.lz4())
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(memory.cache)
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)
        options.set_block_based_table_factory(blocks)
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return rocksdict.Rdict(str(self._folder), options, column_families={META: options})
            except Exception as error:
                reason = str(error)
                if "lock" not in reason.lower():
                    if _says_damaged(reason):
                        raise _Damaged(reason) from error
                    raise OttlaError(f"the store in {self._folder} cannot be opened: {reason}") from error
                if time.monotonic() > deadline:
                    raise OttlaError(
                        f"the store in {self._folder} is open in another process, or in this one: {reason}. Give "
                        f"processes that run the same application on one machine the same streams.state_dir, or "
                        f"each its own."
                    ) from error
                gc.collect()
                time.sleep(0.05)


class _Damaged(Exception):
    """The folder holds no database that can be used."""


def _says_damaged(reason: str) -> bool:
    return any(word in reason for word in ("Corruption", "No such file", "Invalid argument", "NotFound"))


def _library() -> Any:
    try:
        import rocksdict
    except ImportError as error:
        raise ConfigurationError(
            "stores on disk need RocksDB: pip install 'ottla[streams]', or declare the stores as in memory"
        ) from error
    return rocksdict
