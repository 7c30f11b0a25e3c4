"""Read the file of an offline run of Weights & Biases: its frames, and in them wandb's own messages.

wandb has no reader for Python. A file starts with 7 bytes of its own, then follows the log format of LevelDB: blocks of
32 KiB with pieces of records, each after a checksum (4 bytes), a length (2) and a kind (1: whole, 2: first, 3: middle,
4: last).
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEAD = 32768, 7
PATIENCE = 60  # seconds


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that ``run.log`` wrote below a folder that holds one run, by nested names joined with dots."""
    return [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in _records(folder)
        if record.HasField("history")
    ]


def step_axes(folder: Path) -> dict[str, str]:
    """Return the names, or patterns of names, that have a step axis of their own, and that axis."""
    metrics = [record.metric for record in _records(folder) if record.HasField("metric")]
    return {metric.name or metric.glob_name: metric.step_metric for metric in metrics if metric.step_metric}


def _records(folder: Path) -> list[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    began = time.monotonic()
    while True:  # wandb's own process may write the end after run.finish() has returned
        records = [Record.FromString(each) for each in _framed(path.read_bytes())]
        if any(record.HasField("exit") for record in records):
            return records
        assert time.monotonic() - began < PATIENCE, f"{path}: no end of the run in {len(records)} records"
        time.sleep(0.1)


def _framed(data: bytes) -> Iterator[bytes]:
    assert data[:4] == b":W&B"
    place, whole = HEAD, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:  # the rest of a block is padding
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + HEAD + length > len(data):  # being written
            return
        whole += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):
            yield whole
            whole = b""
