"""Regular expressions over topic names, matched in time that grows with pattern and name only (as RE2 does it).

Kafka gives subscribed patterns to RE2/J, and a pattern comes from whoever may join a group: Python's `re`, which tries
alternatives one after the other, could be made to hang the broker. Here a pattern becomes an automaton whose states are
followed side by side.

The subset of RE2's syntax: literals, `.`, classes with ranges, negation and POSIX names (`[[:alpha:]]`), `\\d \\w \\s`
and their opposites, `\\Q...\\E`, escapes, groups of all kinds (also named, also with the flags `i`, `s`, `m`, `U`),
alternatives, `* + ? {n} {n,} {n,m}` greedy or lazy, the anchors `^ $ \\A \\z \\b \\B`, Unicode's general categories
(`\\pL`, `\\p{Lu}`). Not there: Unicode scripts (`\\p{Greek}`): topic names are ASCII, none but Latin could match. As in
RE2, no back references and no look around. A pattern has to match the whole name.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

ALPHABET = frozenset(string.ascii_letters + string.digits + "._-")
STATES_MAX = 2_000
REPEAT_MAX = 1000

_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": frozenset(" \t\n\r\f")}
_POSIX: dict[str, Callable[[str], bool]] = {
    "alnum": str.isalnum,
    "alpha": str.isalpha,
    "ascii": str.isascii,
    "blank": lambda c: c in " \t",
    "cntrl": lambda c: not c.isprintable(),
    "digit": str.isdigit,
    "graph": lambda c: c in ALPHABET,
    "lower": str.islower,
    "print": str.isprintable,
    "punct": lambda c: c in string.punctuation,
    "space": str.isspace,
    "upper": str.isupper,
    "word": lambda c: c in _WORD,
    "xdigit": lambda c: c in string.hexdigits,
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CATEGORIES = {
    "C": "cfos",
    "L": "lmotu",
    "M": "cen",
    "N": "dlo",
    "P": "cdefios",
    "S": "ckmo",
    "Z": "lps",
}


class InvalidRegex(ValueError):
    """A pattern that RE2 refuses, or that is outside of the subset; says why, in RE2/J's words where it has some."""


@dataclass(frozen=True)
class _Node:
    """A part of a pattern: `kind` is char, anchor, cat, alt or repeat."""

    kind: str
    chars: frozenset[str] = frozenset()
    parts: tuple[_Node, ...] = ()
    anchor: str = ""
    low: int = 0
    high: int | None = 0


_EMPTY = _Node("cat")


class TopicRegex:
    """A pattern. Raises InvalidRegex.

    Args:
        pattern: In RE2's syntax.
        alphabet: The characters that may be in what is matched.
    """

    def __init__(self, pattern: str, alphabet: frozenset[str] = ALPHABET) -> None:
        # One state per entry: what it takes (None: nothing) under which condition, and where that leads.
        self._takes: list[frozenset[str] | None] = []
        self._anchors: list[str] = []
        self._next: list[list[int]] = []
        node = _Parser(pattern, alphabet).parse()
        self._end = self._state()
        self._start = self._build(node, self._end)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        current = self._reached({self._start}, name, 0)
        for position, char in enumerate(name):
            taken: set[int] = set()
            for state in current:
                takes = self._takes[state]
                if takes is not None and char in takes:
                    taken.update(self._next[state])
            if not taken:
                return False
            current = self._reached(taken, name, position + 1)
        return self._end in current

    def _state(self) -> int:
        if len(self._next) >= STATES_MAX:
            raise InvalidRegex("expression is too large")
        self._takes.append(None)
        self._anchors.append("")
        self._next.append([])
        return len(self._next) - 1

    def _reached(self, states: set[int], name: str, position: int) -> set[int]:
        """All states that these lead to without taking a character."""
        seen = set(states)
        todo = list(states)
        while todo:
            state = todo.pop()
            if self._takes[state] is not None or not _holds(self._anchors[state], name, position):
                continue
            for following in self._next[state]:
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
        return seen

    def _build(self, node: _Node, after: int) -> int:
        """Makes the states of a node, from its end to its start; gives the start."""
        if node.kind == "cat":
            for part in reversed(node.parts):
                after = self._build(part, after)
            return after
        if node.kind == "repeat":
            return self._repeat(node, after)
        starts = [self._build(part, after) for part in node.parts] if node.kind == "alt" else [after]
        state = self._state()
        self._next[state] = starts
        self._anchors[state] = node.anchor
        if node.kind == "char":
            self._takes[state] = node.chars
        return state

    def _repeat(self, node: _Node, after: int) -> int:
        (part,) = node.parts
        if node.high is None:
            loop = self._state()
            self._next[loop] = [self._build(part, loop), after]
            after = loop
        else:
            exits = after
            for _ in range(node.high - node.low):
                option = self._state()
                self._next[option] = [self._build(part, after), exits]
                after = option
        for _ in range(node.low):
            after = self._build(part, after)
        return after


def _holds(anchor: str, name: str, position: int) -> bool:
    if anchor == "start":
        return position == 0
    if anchor == "end":
        return position == len(name)
    if anchor in ("word", "inner"):
        before = position > 0 and name[position - 1] in _WORD
        behind = position < len(name) and name[position] in _WORD
        return (before != behind) == (anchor == "word")
    return True


class _Parser:
    """Recursive descent. `i` is the one flag that matters to names, which have no lines."""

    def __init__(self, pattern: str, alphabet: frozenset[str]) -> None:
        self.pattern = pattern
        self.alphabet = alphabet
        self.at = 0
        self.depth = 0
        self.folds = False

    def parse(self) -> _Node:
        node = self.alternatives()
        if self.at < len(self.pattern):
            raise InvalidRegex("unexpected )")
        return node

    def peek(self) -> str:
        return self.pattern[self.at] if self.at < len(self.pattern) else ""

    def take(self, text: str) -> bool:
        if self.pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def alternatives(self) -> _Node:
        self.depth += 1
        if self.depth > 200:
            raise InvalidRegex("expression nests too deeply")
        parts = [self.sequence()]
        while self.take("|"):
            parts.append(self.sequence())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else _Node("alt", parts=tuple(parts))

    def sequence(self) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in ("", "|", ")"):
            if self.take("\\Q"):
                stop = self.pattern.find("\\E", self.at)
                stop = len(self.pattern) if stop < 0 else stop
                quoted = self.pattern[self.at : stop]
                self.at = min(stop + 2, len(self.pattern))
                parts += [self.literal(char) for char in quoted]
                continue
            parts.append(self.repeated(self.atom()))
        return _Node("cat", parts=tuple(parts))

    def repeated(self, node: _Node) -> _Node:
        bounds = self.bounds()
        if bounds is None:
            return node
        self.take("?")  # lazy: whether the whole name matches does not depend on it
        if self.peek() and self.peek() in "*+?":
            raise InvalidRegex("invalid nested repetition operator")
        return _Node("repeat", parts=(node,), low=bounds[0], high=bounds[1])

    def bounds(self) -> tuple[int, int | None] | None:
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self.take(sign):
                return low, high
        stop = self.pattern.find("}", self.at)
        if self.peek() != "{" or stop < 0:
            return None
        first, comma, last = self.pattern[self.at + 1 : stop].partition(",")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return None  # a brace that begins no count is a literal
        self.at = stop + 1
        low = int(first)
        high = low if not comma else int(last) if last else None
        if max(low, high or 0) > REPEAT_MAX or (high is not None and high < low):
            raise InvalidRegex("invalid repeat count")
        return low, high

    def literal(self, char: str) -> _Node:
        return _Node("char", chars=frozenset({char.lower(), char.upper()} if self.folds else {char}))

    def atom(self) -> _Node:
        char = self.peek()
        if char in "*+?":
            raise InvalidRegex("missing argument to repetition operator")
        self.at += 1
        if char == "(":
            return self.group()
        if char == "[":
            return _Node("char", chars=self.char_class())
        if char == ".":
            return _Node("char", chars=self.alphabet)
        if char in "^$":
            return _Node("anchor", anchor="start" if char == "^" else "end")
        return self.escape() if char == "\\" else self.literal(char)

    def group(self) -> _Node:
        folds = self.folds
        if self.take("?") and not self.group_kind():
            return _EMPTY  # flags for the rest of the enclosing group
        node = self.alternatives()
        if not self.take(")"):
            raise InvalidRegex("missing closing )")
        self.folds = folds
        return node

    def group_kind(self) -> bool:
        """What follows `(?`: whether a group begins here."""
        for opening in ("P<", "<"):
            if self.take(opening):
                stop = self.pattern.find(">", self.at)
                name = self.pattern[self.at : stop] if stop >= 0 else ""
                if not name or not all(char in _WORD for char in name):
                    raise InvalidRegex("invalid named capture")
                self.at = stop + 1
                return True
        on = True
        while self.peek() in tuple("imsU-"):
            flag = self.peek()
            self.at += 1
            if flag == "-":
                on = False
            elif flag == "i":
                self.folds = on
        if self.take(":"):
            return True
        if not self.take(")"):
            raise InvalidRegex("invalid or unsupported Perl syntax")
        return False

    def escape(self) -> _Node:
        char = self.peek()
        anchors = {"A": "start", "z": "end", "b": "word", "B": "inner"}
        if char in anchors and char:
            self.at += 1
            return _Node("anchor", anchor=anchors[char])
        chars = self.escaped()
        return _Node("char", chars=self.folded(chars))

    def folded(self, chars: frozenset[str]) -> frozenset[str]:
        return chars | {c.lower() for c in chars} | {c.upper() for c in chars} if self.folds else chars

    def escaped(self) -> frozenset[str]:
        """The characters that an escape stands for; the backslash is taken already."""
        char = self.peek()
        if not char:
            raise InvalidRegex("trailing backslash at end of expression")
        self.at += 1
        if char.lower() in _CLASSES:
            named = _CLASSES[char.lower()]
            return self.alphabet - named if char.isupper() else named
        if char in "pP":
            return self.category(negated=char == "P")
        if char == "x":
            return frozenset(self.hexadecimal())
        if char == "0":
            octal = self.pattern[self.at : self.at + 2]
            octal = octal[: len(octal) - len(octal.lstrip("01234567"))] if octal else ""
            self.at += len(octal)
            return frozenset(chr(int(octal or "0", 8)))
        if char in _CONTROL:
            return frozenset(_CONTROL[char])
        if char.isalnum():
            raise InvalidRegex("invalid escape sequence")
        return frozenset(char)

    def hexadecimal(self) -> str:
        if self.take("{"):
            stop = self.pattern.find("}", self.at)
            digits = self.pattern[self.at : stop] if stop >= 0 else ""
            self.at = stop + 1
        else:
            digits = self.pattern[self.at : self.at + 2]
            self.at += 2
        try:
            return chr(int(digits, 16)) if digits.isalnum() else self.bad_escape()
        except (ValueError, OverflowError):
            return self.bad_escape()

    def bad_escape(self) -> str:
        raise InvalidRegex("invalid escape sequence")

    def category(self, *, negated: bool) -> frozenset[str]:
        name = self.peek()
        self.at += 1
        if name == "{":
            stop = self.pattern.find("}", self.at)
            name = self.pattern[self.at : stop] if stop >= 0 else ""
            self.at = stop + 1
        if name.startswith("^"):
            name, negated = name[1:], not negated
        if name[:1] not in _CATEGORIES or name[1:] not in ("", *_CATEGORIES[name[0]]):
            raise InvalidRegex("invalid character class range")
        chars = frozenset(char for char in self.alphabet if unicodedata.category(char).startswith(name))
        return self.alphabet - chars if negated else chars

    def char_class(self) -> frozenset[str]:
        negated = self.take("^")
        chars: set[str] = set()
        first = True
        while first or self.peek() != "]":
            if not self.peek():
                raise InvalidRegex("missing closing ]")
            first = False
            if self.take("[:"):
                chars |= self.posix()
                continue
            low = self.class_char()
            if self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.class_char()
                if len(low) != 1 or len(high) != 1 or min(low) > min(high):
                    raise InvalidRegex("invalid character class range")
                chars |= {char for char in self.alphabet if min(low) <= char <= min(high)}
            else:
                chars |= low
        self.at += 1
        found = self.folded(frozenset(chars))
        return self.alphabet - found if negated else found

    def class_char(self) -> frozenset[str]:
        if self.take("\\"):
            return self.escaped()
        char = self.peek()
        if not char:
            raise InvalidRegex("missing closing ]")
        self.at += 1
        return frozenset(char)

    def posix(self) -> frozenset[str]:
        stop = self.pattern.find(":]", self.at)
        name = self.pattern[self.at : stop] if stop >= 0 else ""
        negated = name.startswith("^")
        if name.lstrip("^") not in _POSIX:
            raise InvalidRegex("invalid character class range")
        self.at = stop + 2
        chars = frozenset(char for char in self.alphabet if _POSIX[name.lstrip("^")](char))
        return self.alphabet - chars if negated else chars
