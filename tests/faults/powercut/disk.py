"""A disk played through from what `recorder.c` wrote down, and what a power cut at any point may leave of it.

What a sync had covered when it ended is there. Of all else there may be nothing, everything, what came first, or, of
the data, any of the 512-byte sectors written since, in any order, the others holding zeros or what was there before.
A sector is as it was at some moment: of several writes into it, all up to one of them are there. Entries of a folder
that was not synced are lost from the last one backwards, folder by folder.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

CREATE, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR, RMDIR, FOLDER = range(1, 11)
_HEAD = struct.Struct("=BQQII")
SECTOR = 512
MODES = ("nothing", "first", "sectors", "everything")


@dataclass(frozen=True)
class Operation:
    """One call. `position` is where its record ends in the journal."""

    kind: int
    file: int
    number: int
    first: bytes
    second: bytes
    position: int


def read_journal(path: Path) -> Iterator[Operation]:
    """The operations of a journal, in order; a record that was being written is left out."""
    data = path.read_bytes()
    at = 0
    while at + _HEAD.size <= len(data):
        kind, file, number, first, second = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        at = start + first + second
        if at > len(data):
            return
        yield Operation(kind, file, number, data[start : start + first], data[start + first : at], at)


@dataclass(eq=False)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)
    synced: int = 0  # pending operations that were made durable and taken off the list
    began: dict[int, int] = field(default_factory=dict)

    def begin(self, number: int) -> None:
        self.began[number] = self.synced + len(self.pending)

    def end(self, number: int) -> None:
        count = self.began.pop(number) - self.synced
        if count > 0:
            for operation in self.pending[:count]:
                _apply(self.durable, operation)
            del self.pending[:count]
            self.synced += count

    def after_cut(self, mode: str, dice: random.Random) -> bytes:
        content = bytearray(self.durable)
        if mode == "first" and self.pending:
            count = dice.randrange(len(self.pending) + 1)
            for operation in self.pending[:count]:
                _apply(content, operation)
            if count < len(self.pending):
                _apply(content, _torn(self.pending[count], dice))
        elif mode == "sectors":
            stale: set[int] = set()
            for operation in self.pending:
                if operation.kind == WRITE:
                    _apply_sectors(content, operation, stale, dice)
                elif dice.random() < 0.5:
                    _apply(content, operation)
        elif mode == "everything":
            for operation in self.pending:
                _apply(content, operation)
        return bytes(content)


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == TRUNCATE:
        _resize(content, operation.number)
    elif operation.first:
        end = operation.number + len(operation.first)
        _resize(content, max(len(content), end))
        content[operation.number : end] = operation.first


def _resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _torn(operation: Operation, dice: random.Random) -> Operation:
    if operation.kind != WRITE:
        return Operation(WRITE, operation.file, 0, b"", b"", operation.position)
    data = operation.first[: dice.randrange(len(operation.first))]
    return Operation(WRITE, operation.file, operation.number, data, b"", operation.position)


def _apply_sectors(content: bytearray, operation: Operation, stale: set[int], dice: random.Random) -> None:
    """Applies a write to some of its sectors; `stale` are those of which an earlier write was not applied."""
    start, end = operation.number, operation.number + len(operation.first)
    at = start
    while at < end:
        sector = at // SECTOR
        stop = min(end, (sector + 1) * SECTOR)
        if sector in stale or dice.random() < 0.5:
            stale.add(sector)
        else:
            piece = operation.first[at - start : stop - start]
            _apply(content, Operation(WRITE, operation.file, at, piece, b"", operation.position))
        at = stop


Node = "_File | _Folder"
Entry = tuple[str, "str | None", "object"]  # name, the name it had before (a rename), what it names (None: removed)


@dataclass(eq=False)
class _Folder:
    entries: dict[str, object] = field(default_factory=dict)
    durable: dict[str, object] = field(default_factory=dict)
    pending: list[Entry] = field(default_factory=list)
    synced: int = 0
    began: dict[int, int] = field(default_factory=dict)

    def change(self, entry: Entry) -> None:
        _change(self.entries, entry)
        self.pending.append(entry)

    def begin(self, number: int) -> None:
        self.began[number] = self.synced + len(self.pending)

    def end(self, number: int) -> None:
        count = self.began.pop(number) - self.synced
        if count > 0:
            for entry in self.pending[:count]:
                _change(self.durable, entry)
            del self.pending[:count]
            self.synced += count

    def after_cut(self, mode: str, dice: random.Random) -> dict[str, object]:
        kept = {"nothing": 0, "everything": len(self.pending)}.get(mode, dice.randrange(len(self.pending) + 1))
        entries = dict(self.durable)
        for entry in self.pending[:kept]:
            _change(entries, entry)
        return entries


def _change(entries: dict[str, object], entry: Entry) -> None:
    name, before, node = entry
    if before is not None:
        entries.pop(before, None)
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _unsynced(folder: _Folder) -> Iterator[str]:
    for name, node in folder.entries.items():
        if isinstance(node, _Folder):
            yield from _unsynced(node)
        elif isinstance(node, _File) and node.pending:
            yield name


class Disk:
    """The disk below `root` after the operations played so far. `root` itself is durable.

    Args:
        root: The folder that was recorded.
        holds: Nothing was recorded yet, and what it holds now is durable. Without, it was empty at first.
    """

    def __init__(self, root: Path, *, holds: bool = False) -> None:
        self._root = root
        self._top = _Folder()
        self._nodes: dict[int, _File | _Folder] = {}
        if holds:
            self._take_in(root, self._top)

    def _take_in(self, place: Path, folder: _Folder) -> None:
        for path in place.iterdir():
            node = _Folder() if path.is_dir() else _File(bytearray(path.read_bytes()))
            folder.entries[path.name] = folder.durable[path.name] = self._nodes[path.stat().st_ino] = node
            if isinstance(node, _Folder):
                self._take_in(path, node)

    def play(self, operation: Operation) -> None:
        """Takes in the next operation."""
        kind = operation.kind
        if kind in (CREATE, MKDIR):
            folder, name = self._place(operation.first)
            node = self._nodes[operation.file] = _File() if kind == CREATE else _Folder()
            folder.change((name, None, node))
        elif kind == FOLDER:
            self._nodes[operation.file] = self._find(PurePath(operation.first.decode()))
        elif kind in (WRITE, TRUNCATE):
            file = self._nodes[operation.file]
            assert isinstance(file, _File)
            file.pending.append(operation)
        elif kind == SYNC_BEGIN:
            self._nodes[operation.file].begin(operation.number)
        elif kind == SYNC_END:
            self._nodes[operation.file].end(operation.number)
        elif kind == RENAME:
            self._rename(operation)
        else:
            folder, name = self._place(operation.first)
            folder.change((name, None, None))

    def unsynced(self) -> list[str]:
        """The names of files below that hold what no sync has covered."""
        return list(_unsynced(self._top))

    def cut(self, target: Path, dice: random.Random, mode: str = "") -> str:
        """Writes what a power cut now leaves to an empty folder; gives in words how the dice fell, if not `mode`."""
        chosen = mode or dice.choice(MODES)
        self._write(self._top, target, chosen, dice)
        return chosen

    def _write(self, folder: _Folder, target: Path, mode: str, dice: random.Random) -> None:
        for name, node in folder.after_cut(mode, dice).items():
            if isinstance(node, _Folder):
                (target / name).mkdir()
                self._write(node, target / name, mode, dice)
            elif isinstance(node, _File):
                (target / name).write_bytes(node.after_cut(mode, dice))

    def _rename(self, operation: Operation) -> None:
        folder, name = self._place(operation.first)
        other, new_name = self._place(operation.second)
        assert folder is other, "nothing is renamed across folders"
        folder.change((new_name, name, folder.entries[name]))

    def _place(self, path: bytes) -> tuple[_Folder, str]:
        whole = PurePath(path.decode())
        found = self._find(whole.parent)
        assert isinstance(found, _Folder)
        return found, whole.name

    def _find(self, path: PurePath) -> _File | _Folder:
        node: object = self._top
        for part in path.relative_to(self._root).parts:
            assert isinstance(node, _Folder)
            node = node.entries[part]
        assert isinstance(node, _File | _Folder)
        return node
