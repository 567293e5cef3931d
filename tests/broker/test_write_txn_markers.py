from __future__ import annotations

from pathlib import Path

import pytest

from ottla.broker.wire.errors import ErrorCode
from tests.broker.running import RunningBroker


@pytest.mark.parametrize(
    ("producer_id", "epoch", "code"),
    [(-1, 0, ErrorCode.INVALID_PRODUCER_ID_MAPPING), (7, -1, ErrorCode.INVALID_PRODUCER_EPOCH), (7, 0, ErrorCode.NONE)],
)
def test_a_marker_of_no_producer_is_refused_and_leaves_nothing(
    tmp_path: Path, producer_id: int, epoch: int, code: ErrorCode
) -> None:
    with RunningBroker(tmp_path) as broker:
        client = broker.connect()
        client.create("t")
        marker = {
            "producer_id": producer_id,
            "producer_epoch": epoch,
            "transaction_result": False,
            "topics": [{"name": "t", "partition_indexes": [0]}],
            "coordinator_epoch": 1,
        }
        (answer,) = client.ask("WriteTxnMarkers", 1, markers=[marker])["markers"]
        assert answer["topics"][0]["partitions"] == [{"partition_index": 0, "error_code": code}]
        assert client.fetch("t", 0)["high_watermark"] == (1 if code is ErrorCode.NONE else 0)
        client.close()
