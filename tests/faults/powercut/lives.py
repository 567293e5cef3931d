"""What was promised over two lives of a broker: what clients were told in the first, then what was found left of it."""

from __future__ import annotations

from tests.broker.running import Client
from tests.faults.powercut.checks import Checks
from tests.faults.powercut.load import COMMITTED, DELETED, KEYED, PLAIN, SETTINGS, Promises


def taken_over(client: Client, before: Promises, cut: int, at: int) -> Promises:
    """Checks what a power cut has left, and takes down all of it: what has been read once has to stay.

    Args:
        client: Of the broker in its next life. No transaction is open.
        before: What was promised in the life before,
        cut: of which the journal was so long when it ended.
        at: How long the journal of the next life is now.

    Raises:
        AssertionError: A promise is broken.
    """
    checks = Checks(client, before, cut)
    checks.compare()
    listed = checks.topics()
    after = Promises()
    after.created = dict.fromkeys(sorted(listed), at)
    gone = [name for name in before.created if name not in listed and name not in SETTINGS]
    after.created |= dict.fromkeys(gone, at)
    after.gone = dict.fromkeys(gone, at)
    for topic in (PLAIN, KEYED, DELETED):
        if topic in listed:
            after.produced[topic] = [(at, offset, *record) for offset, record in checks.read(topic).items()]
            if topic == DELETED:
                after.starts, after.asked_start = [(at, checks.start)], checks.start
    after.sent[PLAIN] = [value for _, _, _, value in after.produced.get(PLAIN, [])]
    after.sent[KEYED] = list(before.sent.get(KEYED, []))
    if COMMITTED in listed:
        visible = checks.read_committed()
        others = [one for _, _, values in before.transactions for one in values if one not in visible]
        after.transactions = [(at, True, visible), (at, False, others)]
    offset = checks.committed_offset() if PLAIN in listed else -1
    if offset >= 0:
        after.committed_offsets = [(at, offset)]
    return after
