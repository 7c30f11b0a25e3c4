"""Six small frames and a cache of them, for the tests of validate."""

import os
from pathlib import Path

from tiny_data import TinyData, make_depth

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.worker import Job
from depthvar.precompute.validation.finding import Finding
from depthvar.precompute.validation.validate import validate


def six_frames(folder: Path) -> TinyData:
    """Six frames of 24×32 in two sequences, one of them nested, old enough for their stat to be trusted."""
    data = TinyData(folder)
    for sequence, count in (("a/P0", 4), ("b", 2)):
        for index in range(count):
            data.write(sequence, f"{index:03}", make_depth(24, 32, index))
    for path in data.root.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return data


def job_of(data: TinyData) -> Job:
    return data.job(strides=(1, 2))


def run(data: TinyData, **options: bool) -> Path:
    list(pipeline.run(job_of(data), execute.serial, **options))
    return Path(job_of(data).cache)


def check(data: TinyData, **options: object) -> list[Finding]:
    return validate(job_of(data).cache, data.source(), **options).findings  # type: ignore[arg-type]


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.check for finding in findings}


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def contents(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in files(cache)}
