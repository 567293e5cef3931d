"""What an App offers of the patterns, handed over to where each is done."""

from __future__ import annotations


class AppPatterns:
    """The part of App that stands on `ottla.patterns`. Nothing of it is loaded before it is used."""
