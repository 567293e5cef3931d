"""A handler that is called twice."""

from __future__ import annotations

import pytest

from ottla import HandlerError
from ottla.middleware.run_twice import RunTwice
from tests.middleware.calls import Placed, call, with_middleware


@pytest.mark.parametrize("is_async", [False, True])
def test_every_record_is_handled_twice_and_answered_once(is_async: bool) -> None:
    handled: list[str] = []

    def handle(placed: Placed) -> str:
        handled.append(placed.id)
        return "answer"

    async def handle_async(placed: Placed) -> str:
        return handle(placed)

    assert call(with_middleware(handle_async if is_async else handle, RunTwice())) == "answer"
    assert handled == ["1", "1"]


def test_a_handler_that_answers_only_once_is_found_out() -> None:
    seen: set[str] = set()

    def handle(placed: Placed) -> str | None:
        if placed.id in seen:
            return None
        seen.add(placed.id)
        return "answer"

    with pytest.raises(HandlerError, match=r"handle is not idempotent: .* returned 'answer', and then None"):
        call(with_middleware(handle, RunTwice()))
    seen.clear()
    assert call(with_middleware(handle, RunTwice(compare=False))) == "answer"
