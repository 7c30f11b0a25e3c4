"""Follow a run: show how far it has come, and add up what its shards report."""

import logging
import time
from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Any

from depthvar.precompute.pipeline.job import TaskResult
from depthvar.precompute.pipeline.run import Outlook
from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary

from .progress import progress

FRAMES_PER_WORKER = 100  # of 640×480, which threads compute in the 2 s of CPU that one worker process takes to start


def follow(events: Generator[Outlook | TaskResult], workers: int | None) -> dict[str, Any]:
    """Show the progress of a run, and return what became of it: counts of frames, seconds, and ranges."""
    began = time.perf_counter()
    computed, checked, depth, sigma = 0, 0, DepthSummary(), SigmaSummary()
    with closing(events):  # so that Ctrl-C releases the lock before anything else is printed
        outlook: Any = next(events)
        failed = list(outlook.failed)
        if 0 < outlook.compute < FRAMES_PER_WORKER * (workers or 0):
            logging.getLogger("depthvar").info(
                "--workers %d: for %d frames threads, the default, are faster: each process takes some 2 s to start",
                workers, outlook.compute,
            )  # fmt: skip
        working = time.perf_counter()
        with progress(outlook.compute + outlook.check, "frames done") as advance:
            for result in events:
                done: Any = result
                computed, checked = computed + done.computed, checked + done.checked
                depth, sigma = depth + done.depth, sigma + done.sigma
                failed += done.failed
                advance(done.computed + done.checked + len(done.failed), len(done.failed))
    ended = time.perf_counter()
    unchanged = outlook.done + checked
    return {
        "total": outlook.total,
        "frames": outlook.frames,
        "computed": computed,
        "unchanged": unchanged,
        "kept": outlook.kept,
        "pruned": outlook.pruned,
        "failed": failures(failed),
        "left": outlook.frames - computed - unchanged - len(failed),
        "seconds": round(ended - began, 3),
        "frames_per_second": round(computed / (ended - working), 2),
        "depth": depth.to_json(),
        "sigma": sigma.to_json(),
    }


def failures(failed: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Return the frames that failed as ``--json`` prints them."""
    return [{"key": key, "error": message} for key, message in failed]
