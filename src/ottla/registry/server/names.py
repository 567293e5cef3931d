"""Subjects and contexts: `:.context:subject`, the default context left out.

A context is a registry of its own within the registry: subjects and ids in it have nothing to do with those elsewhere.
`:.__GLOBAL:` is none, but holds the config and the mode of all contexts.
"""

from __future__ import annotations

DEFAULT = "."
GLOBAL = ":.__GLOBAL:"
ANY = ":*:"


def split(subject: str) -> tuple[str, str]:
    """The context (`.` for the default one) and the subject in it."""
    if not subject.startswith(":."):
        return DEFAULT, subject
    context, _colon, plain = subject[1:].partition(":")
    return context, plain


def qualified(context: str, subject: str) -> str:
    """A subject's full name; in the default context its plain name."""
    return subject if context == DEFAULT else f":{context}:{subject}"


def normal(subject: str) -> str:
    """A subject's one spelling: `:.:s` is `s`, `:.team` is `:.team:`."""
    return qualified(*split(subject))


def context_of(subject: str) -> str:
    return split(subject)[0]


def beside(subject: str, other: str) -> str:
    """What a schema under `subject` means by `other`: in its own context, unless `other` names one."""
    return normal(other) if other.startswith(":.") else qualified(context_of(subject), other)


def scopes(subject: str | None) -> list[str | None]:
    """Where a setting for a subject is looked for, first its own, then its context's, then that of all contexts.

    None is the setting of the default context, which is what the API calls global.
    """
    if subject is None:
        return [None, GLOBAL]
    context = context_of(subject)
    own: str | None = None if context == DEFAULT else qualified(context, "")
    return list(dict.fromkeys([subject, own, GLOBAL]))


def matches(subject: str, prefix: str) -> bool:
    """Whether a subject begins with a prefix that a client asks for: `:*:` is every context."""
    if prefix.startswith(ANY):
        return split(subject)[1].startswith(prefix.removeprefix(ANY))
    context, plain = split(prefix)
    own, name = split(subject)
    return own == context and name.startswith(plain)
