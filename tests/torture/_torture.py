"""Trials over one data set and its cache: kill a run, change the source or not, resume, compare with the oracle."""

import shutil
import sys
import time
from collections import Counter
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from _changing_data import ChangingData, Version
from _mutants import Mutant
from _runs import FORKED, SLOW_READ, WORKERS, being_read, command_run, computed, forked_run, kill, start, wait
from _shards import Shard, contents, digest_chunks, half_written, has_new_digest, shard_keys

from depthvar.precompute import KernelParams

OTHER = {"overwrite": True, "params": KernelParams(window=3)}
AGAIN = 0.25  # of the resumed runs are killed too
UNCHANGED = 0.35  # of the trials leave the source as it is
KILLED, RESUMED = "after the kill", "after the resume"


class Torture:
    """One data set, its cache, and what was counted and found.

    Attributes:
        violations: what is wrong; of a right product, nothing.
        counts: kills by kind and mode, and what came of them.
    """

    def __init__(
        self, folder: Path, seed: int, mutant: Mutant | None = None, sequences: int = 4, frames: int = 20
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.data = ChangingData(folder / "data", self.random, sequences, frames)
        self.folder, self.mutant = folder, mutant
        self.log = folder / "log"
        self.seconds: dict[tuple[str, bool], float] = {}
        self.counts: Counter[str] = Counter()
        self.violations: list[tuple[str, str]] = []

    def note(self, moment: str, what: str, found: list[str]) -> None:
        """Keep violations, and say so. ``moment``: when they show."""
        for violation in found:
            self.violations.append((moment, f"{what}: {violation}"))
            if self.mutant is None:
                print(f"VIOLATION {moment}: {what}: {violation}", file=sys.stderr, flush=True)

    def start(self, mode: str, *, slow: bool = False, die_at: int = 0, **options: Any) -> BaseProcess:
        """Start a run."""
        if mode in FORKED:
            return start(self.log, forked_run, self.data, mode, self.mutant, slow, die_at, options)
        return start(self.log, command_run, self.data, mode)

    def finish(self, what: str, mode: str = "serial", **options: Any) -> None:
        """Let a run end, which it must do well."""
        process = self.start(mode, **options)
        process.join()
        if process.exitcode != 0:
            self.note("exit", what, [f"the run ended with {process.exitcode}: {self.log.read_text()[-500:]}"])
            shutil.rmtree(self.data.cache, ignore_errors=True)  # so that the next trial begins well
            self.start("serial").join()

    def uninterrupted(self, mode: str = "serial", **options: Any) -> tuple[dict[str, bytes], float]:
        """Return the bytes that a run would give if it were not killed, and its seconds, by running it on a copy."""
        root, twin = self.data.root, self.folder / "twin"
        shutil.rmtree(twin, ignore_errors=True)
        shutil.copytree(root, twin)
        self.data.move(twin)
        began = time.perf_counter()
        self.finish("uninterrupted", mode, **options)
        seconds, result = time.perf_counter() - began, contents(self.data.cache)
        self.data.move(root)
        return result, seconds

    def compare(self, what: str, wanted: dict[str, bytes]) -> None:
        """Note every file of the cache that is not what an uninterrupted run writes."""
        got = contents(self.data.cache)
        differ = sorted(name for name in {*got, *wanted} if got.get(name) != wanted.get(name))
        self.note("bytes", what, [f"{name}: not the bytes of an uninterrupted run" for name in differ])
        self.counts["unchanged source: compared with the bytes of an uninterrupted run"] += 1

    def trial(self, mode: str, finished: bool, kind: str = "uniform") -> bool:
        """Kill a run once, change the source or not, resume, check. Returns whether the run was alive."""
        data, random = self.data, self.random
        what = f"{kind}, {mode}, {'finished' if finished else 'fresh'} cache"
        what_number = f"{what}, kill {self.counts[f'{what}: kills'] + 1}"
        as_it_was = dict(data.frames)
        if finished:
            for _ in range(random.integers(5, 20)):
                data.change()
        else:
            shutil.rmtree(data.cache, ignore_errors=True)
        unchanged = bool(random.random() < UNCHANGED)
        live = not unchanged and bool(random.random() < 0.6)
        if unchanged:
            data.settle()
        wanted = self.uninterrupted(mode if mode in FORKED else "command line")[0] if unchanged else {}
        if (mode, finished) not in self.seconds:
            self.seconds[mode, finished] = self.uninterrupted(mode)[1]
        before, half = digest_chunks(data.cache), half_written(data.cache)
        data.changed.clear()

        process, began = self.start(mode, slow=live), time.perf_counter()
        if kind == "during writes":
            while process.is_alive() and not half_written(data.cache) - half:
                time.sleep(0.001)
            until = time.perf_counter() - began + random.uniform(0, 0.1)
        else:
            slower = SLOW_READ * len(data.frames) / WORKERS[mode] if live and mode in FORKED else 0
            until = random.uniform(0, self.seconds[mode, finished] + slower)
        edits = np.sort(random.uniform(0, until, random.integers(1, 16))) if live else []
        for moment in edits:
            wait(process, began + moment)
            if (key := being_read(self.log)) in data.frames and random.random() < 0.7:
                data.change(str(random.choice(["edit", "intrinsics"])), key)
            else:
                data.change()
        wait(process, began + until)
        alive = kill(process)
        ended = self._after_kill(what_number, what if alive else "the run had ended", mode, process, before, half)
        if not unchanged:
            if finished and random.random() < 0.3:
                data.revert_to(as_it_was)
                self.counts["between: every edit reverted"] += 1
            for _ in range(random.integers(1, 3)):
                self.counts[f"between: {data.change()}"] += 1
        ended |= self._resume(what_number, mode, self.seconds[mode, finished])
        self._check_work(what_number, ended, exact=unchanged)
        self.note(RESUMED, what_number, data.wrong_cache(data.cache))
        if unchanged:
            self.compare(what_number, wanted)
        print(f"{what_number}: {'alive' if alive else 'had ended'}", file=sys.stderr, flush=True)
        return alive

    def _after_kill(
        self, what: str, kind: str, mode: str, process: BaseProcess, before: dict[Shard, bytes], half: set[Shard]
    ) -> dict[Shard, list[str]]:
        """Check what counts as done, count where the kill landed, and return the shards that were ended: their keys."""
        writing = half_written(self.data.cache) - half if "overwrite" not in kind else set()  # that removes all digests
        self.counts[f"{kind}: kills"] += 1
        self.counts[f"{kind}: kills inside a shard's write"] += bool(writing)
        self.counts[f"{kind}: shards in flight"] += len(writing)
        if len(writing) > WORKERS[mode]:
            self.note("work", what, [f"{len(writing)} shards in flight, by {WORKERS[mode]} workers"])
        if process.exitcode not in (0, 1, -9):
            self.note("exit", what, [f"the run ended with {process.exitcode}: {self.log.read_text()[-500:]}"])
        self.note(KILLED, what, self.data.wrong_rows(self.data.cache))
        after, keys = digest_chunks(self.data.cache), shard_keys(self.data.cache)
        return {shard: keys[shard] for shard, chunk in after.items() if has_new_digest(before.get(shard), chunk)}

    def _resume(self, what: str, mode: str, seconds: float) -> dict[Shard, list[str]]:
        """Run to the end, perhaps after further kills; returns the shards that those had ended: their keys."""
        ended: dict[Shard, list[str]] = {}
        while mode in FORKED and self.random.random() < AGAIN:
            before, half = digest_chunks(self.data.cache), half_written(self.data.cache)
            process = self.start(mode)
            wait(process, time.perf_counter() + self.random.uniform(0, seconds))
            if kill(process):
                ended |= self._after_kill(what, "uniform, resuming", mode, process, before, half)
        self.finish(what, mode if mode in FORKED else "command line")
        return ended

    def _check_work(self, what: str, ended: dict[Shard, list[str]], exact: bool) -> None:
        """Check that the run that has ended computed no shard that a killed one had ended, and nothing has changed."""
        keys = shard_keys(self.data.cache)
        done = {shard for shard in ended if keys.get(shard) == ended[shard] and not self.data.changed & {*ended[shard]}}
        shards, frames = computed(self.log, self.data.cache)
        self.note("work", what, [f"{shard}: computed again, though it was done" for shard in shards & done])
        if frames is not None and exact:
            chunks = [chunk for shard, chunk in digest_chunks(self.data.cache).items() if shard in done]
            rows = sum(int(np.frombuffer(chunk, np.uint8).reshape(-1, 32).any(axis=1).sum()) for chunk in chunks)
            if frames > len(self.data.frames) - rows:
                self.note(
                    "work", what, [f"{frames} frames computed again, {rows} of {len(self.data.frames)} were done"]
                )
        self.counts["shards computed by resumed runs"] += len(shards)

    def sweep(self, scenario: str, step: int = 1) -> None:
        """Kill a run just before every (or every ``step``-th) change that it makes to the file system."""
        options = self._prepare(scenario)
        saved, frames = self.folder / "saved", dict(self.data.frames)
        shutil.copytree(self.data.root, saved)
        wanted, _ = self.uninterrupted(**options)
        before, half = digest_chunks(self.data.cache), half_written(self.data.cache)
        for number in count(1, step):
            self._restore(saved, frames)
            process = self.start("serial", die_at=number, **options)
            process.join()
            if process.exitcode == 0:
                break
            what = f"{scenario}, before change {number}"
            self._after_kill(what, f"every change, {scenario}", "serial", process, before, half)
            if scenario == "overwrite":
                self._after_overwrite(what, wanted)
                continue
            if number // step % 2:
                self.finish(what)
                self.compare(what, wanted)
            else:
                for _ in range(self.random.integers(1, 4)):
                    self.data.change()
                self.finish(what)
            self.note(RESUMED, what, self.data.wrong_cache(self.data.cache))
        print(f"{scenario}: killed before one in {step} of {number - 1} changes", file=sys.stderr, flush=True)

    def _prepare(self, scenario: str) -> dict[str, Any]:
        if scenario == "fresh":
            self.data.settle()
            return {}
        self.finish("first run")
        if scenario == "overwrite":
            self.data.settle()
            return OTHER
        changes = {"touched": ["touch"] * 3, "grown": ["edit", "insert", "insert", "insert", "remove", "intrinsics"]}
        for kind in changes[scenario]:
            self.data.change(kind)
        self.data.settle()
        return {}

    def _restore(self, saved: Path, frames: dict[str, Version]) -> None:
        shutil.rmtree(self.data.root)
        shutil.copytree(saved, self.data.root)
        self.data.frames = dict(frames)

    def overwrites(self, kills: int) -> None:
        """Kill runs with ``--overwrite`` and other parameters at uniformly random times."""
        self._prepare("overwrite")
        saved, frames = self.folder / "saved", dict(self.data.frames)
        shutil.copytree(self.data.root, saved)
        for mode in FORKED:
            wanted, seconds = self.uninterrupted(mode, **OTHER)
            what = f"overwrite, {mode}"
            while self.counts[f"{what}: kills"] < kills // len(FORKED):
                self._restore(saved, frames)
                before, half = digest_chunks(self.data.cache), half_written(self.data.cache)
                process = self.start(mode, **OTHER)
                wait(process, time.perf_counter() + self.random.uniform(0, seconds))
                if kill(process):
                    number = f"{what}, kill {self.counts[f'{what}: kills'] + 1}"
                    self._after_kill(number, what, mode, process, before, half)
                    self._after_overwrite(number, wanted)
                    print(number, file=sys.stderr, flush=True)

    def _after_overwrite(self, what: str, wanted: dict[str, bytes]) -> None:
        """Go on with --overwrite, or without it and the old or the new parameters: that ends well or is refused."""
        choice = self.random.choice(["again", "old", "new"])
        options = {} if choice == "old" else OTHER if choice == "again" else {"params": OTHER["params"]}
        process = self.start("serial", **options)
        process.join()
        if process.exitcode == 0:
            self.counts[f"after a killed overwrite, {choice} parameters: finished"] += 1
        elif choice != "again" and "computed with other parameters" in self.log.read_text():
            self.counts[f"after a killed overwrite, {choice} parameters: refused"] += 1
            self.note(KILLED, f"{what}, refused", self.data.wrong_rows(self.data.cache))
            self.finish(f"{what}, overwritten after all", **OTHER)
        else:
            self.note("exit", what, [f"the next run ended with {process.exitcode}: {self.log.read_text()[-500:]}"])
            self.finish(f"{what}, overwritten after all", **OTHER)
        self.note(RESUMED, what, self.data.wrong_cache(self.data.cache))
        if choice != "old" or process.exitcode != 0:
            self.compare(what, wanted)
