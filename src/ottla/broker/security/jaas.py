"""Java's login configurations, as Kafka's `sasl.jaas.config` holds them: `Module required name="value" ...;`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"\\]|\\.)*") | (?P<mark>[=;]) | (?P<word>[^\s=;"]+) | (?P<bad>") )""", re.VERBOSE
)
_FLAGS = ("required", "requisite", "sufficient", "optional")


@dataclass(frozen=True)
class LoginModule:
    """One entry: the module's class and its options."""

    name: str
    options: dict[str, str] = field(default_factory=dict, repr=False)  # passwords: not for logs

    @property
    def users(self) -> dict[str, str]:
        """The names and passwords of all options `user_NAME="PASSWORD"`, Kafka's way to say who PLAIN lets in."""
        return {key.removeprefix("user_"): value for key, value in self.options.items() if key.startswith("user_")}


def parse_jaas(text: str) -> LoginModule:
    """Reads a configuration of exactly one login module, which is what Kafka allows per mechanism.

    Raises:
        ValueError: It is none; says what is missing. The message never holds the text itself, which has passwords.
    """
    tokens = list(_tokens(text))
    if not tokens or tokens[-1] != ("mark", ";"):
        raise ValueError("a JAAS configuration ends with a semicolon")
    if tokens.count(("mark", ";")) > 1:
        raise ValueError("more than one login module; Kafka takes one for each mechanism")
    if len(tokens) < 3 or tokens[0][0] != "word" or tokens[1][1].lower() not in _FLAGS:
        raise ValueError('a JAAS configuration begins with a class and a flag, as in "...LoginModule required ...;"')
    options: dict[str, str] = {}
    rest = tokens[2:-1]
    if len(rest) % 3:
        raise ValueError('options must be of the form name="value"')
    for at in range(0, len(rest), 3):
        (kind, name), (_, equals), (value_kind, value) = rest[at : at + 3]
        if kind != "word" or equals != "=" or value_kind == "mark":
            raise ValueError('options must be of the form name="value"')
        options[name] = value
    return LoginModule(tokens[0][1], options)


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match["bad"]:
            raise ValueError("a quotation mark is not closed")
        if match["quoted"] is not None:
            found.append(("quoted", re.sub(r"\\(.)", r"\1", match["quoted"][1:-1])))
        elif match["mark"]:
            found.append(("mark", match["mark"]))
        else:
            found.append(("word", match["word"]))
        position = match.end()
    return found
