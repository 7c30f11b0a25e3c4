"""The command line: results on stdout, all else on stderr, one line per error, and exit codes that scripts can use."""

import builtins
import errno
import json
import logging
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import dask.system
import numpy as np
import pytest
import torch
import zarr
from click.testing import CliRunner, Result
from tiny_data import TinyData, make_depth

from depthvar.datasets import DepthSource
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.frame import Frame
from depthvar.datasets.hospital import write as hospital_files
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import run as pipeline

# Started by a job in the background, a process ignores Ctrl-C unless it sets a handler.
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
PROGRESS = r"(groups|maps|frames) \w+ \d+/\d+|looked at \d frames?: "
COMMAND = [sys.executable, "-c", HEEDING + "from depthvar.precompute.cli.main import main; main()"]
LOG = logging.getLogger("depthvar")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    handlers, propagate, level = LOG.handlers, LOG.propagate, LOG.level
    yield
    LOG.handlers, LOG.propagate = handlers, propagate
    LOG.setLevel(level)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEPTHVAR_DATA", raising=False)


def cli(*arguments: object) -> Result:
    """Run a command in this process; an exception that is no error of depthvar fails the test."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def run(tiny: TinyData, *options: object) -> Result:
    return cli("run", "--dataset", tiny.toml, "--strides", "1,2", *options)


def facts_of(result: Result, exit_code: int = 0) -> dict[str, Any]:
    assert result.exit_code == exit_code, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def error_of(result: Result) -> str:
    """Return the one line that an error is, or fail; lines of the progress until then do not count."""
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if not re.match(PROGRESS, line)]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: "), result.stderr
    return lines[0]


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its modification time and content."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }


def maps(cache: Path) -> dict[str, bytes]:
    """The bytes of every σ array of a cache, and of its digests."""
    found = {
        str(path.relative_to(cache)): path.read_bytes()
        for path in sorted(cache.rglob("*"))
        if path.is_file() and re.search(r"/(sigma_Z2(_s\d+)?|digest|key|intrinsics)/", str(path.relative_to(cache)))
    }
    assert any("/sigma_Z2/c." in name for name in found)
    return found


def done_frames(folder: Path) -> int:
    """How many frames the caches below a folder call done."""
    caches = [path.parent for path in folder.rglob("zarr.json") if path.parent.name.endswith(".zarr")]
    return sum(
        np.any(zarr.open_array(path, mode="r")[:], axis=1).sum() for cache in caches for path in cache.rglob("digest")
    )


def age(root: Path) -> None:
    """Make the data older, so that their stat is trusted."""
    for path in root.rglob("*"):
        if path.is_file() and ".zarr" not in str(path):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))


def more_sequences(tiny: TinyData, count: int, height: int, width: int) -> None:
    for index in range(count):
        tiny.write(f"c/P{index:03}", "000", make_depth(height, width, index))


# What the commands say


def test_run_info_and_validate_as_json(tiny: TinyData) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    ran = facts_of(run(tiny, "--json"))
    assert {name: ran[name] for name in ("dataset", "frames", "computed", "unchanged", "failed")} == {
        "dataset": "tiny", "frames": 8, "computed": 8, "unchanged": 0, "failed": [],
    }  # fmt: skip
    assert Path(ran["cache"]).resolve() == cache.resolve()
    assert ran["seconds"] > 0
    assert {"read", "kernel", "digest", "encode", "statistics", "write"} < ran["stages"].keys()
    assert list(ran["stages"])[-1] == "idle"
    assert min(ran["stages"].values()) >= 0
    again = facts_of(run(tiny, "--json"))
    assert again["unchanged"] == 8
    assert again["stages"].keys() <= {"check", "write", "idle"}
    info = facts_of(cli("info", cache, "--json"))
    assert [(group["group"], group["done"], group["height"]) for group in info["groups"]] == [
        ("a/P0", 5, 24),
        ("b", 3, 24),
    ]
    assert info["parameters"]["strides"] == [1, 2]
    assert info["bytes"] == sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert 0 < info["bytes_per_pixel_stride_1"] < info["bytes_per_pixel"]
    report = facts_of(cli("validate", cache, "--json"))
    assert (report["frames"], report["chunks"], report["recomputed"], report["findings"]) == (8, 16, 8, [])
    assert facts_of(cli("validate", cache, "--json", "--recompute", "3"))["recomputed"] >= 3
    assert facts_of(cli("validate", cache, "--json", "--full"))["recomputed"] == 8
    assert facts_of(cli("validate", cache, "--json", "--recompute", "0"))["recomputed"] == 0


def test_run_info_and_validate_as_text(tiny: TinyData) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    ran = run(tiny)
    assert ran.exit_code == 0
    assert re.search(r"^done   tiny: 8 frames computed; [\d.]+ s, [\d.]+/s, [\d.]+ kB$", ran.stdout, re.MULTILINE)
    assert re.search(r"^frames done 8/8, [\d.]+/s, [\d.]+ kB$", ran.stderr, re.MULTILINE)
    info = cli("info", cache)
    assert (info.exit_code, info.stderr) == (0, "")
    for line in (
        r"^frames       8 frames done, in 2 sequences$",
        r"^strides      1, 2$",
        r"window 5, lambda_prior 0.5, alpha_clamp 0.3",
        r"^engine       numba; python ",
        r"^size         [\d.]+ kB; [\d.]+ bytes a pixel",
        r"^  a/P0  5 frames done  32×24$",
    ):
        assert re.search(line, info.stdout, re.MULTILINE), line
    good = cli("validate", cache)
    assert good.exit_code == 0
    assert "8 frames, 16 chunks decoded, 8 frames recomputed: nothing wrong\n" in good.stdout


def test_validate_names_what_is_wrong_and_clear_with_run_repairs_it(tiny: TinyData) -> None:
    run(tiny)
    cache = tiny.root / "sigma_Z2.zarr"
    before = maps(cache)
    (cache / "b/sigma_Z2/c.0.0.0").unlink()
    bad = cli("validate", cache)
    assert bad.exit_code == 3
    assert re.search(r"integrity: b/depth/000.npy, sigma_Z2: expected .*, got missing values .*; repair: ", bad.stdout)
    assert "3 findings" in bad.stdout
    cleared = facts_of(cli("validate", cache, "--clear", "--json"), exit_code=3)
    assert (cleared["cleared"], len(cleared["findings"])) == (1, 3)
    assert "cleared" not in bad.stdout
    assert facts_of(run(tiny, "--json"))["computed"] == 3
    assert cli("validate", cache, "--full").exit_code == 0
    assert maps(cache) == before


def test_validate_finds_damaged_root_attributes(tiny: TinyData) -> None:
    run(tiny)
    cache = tiny.root / "sigma_Z2.zarr"
    metadata = cache / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"lambda_prior": 0.5', '"lambda_prior": 0.7'))
    result = cli("validate", cache)
    assert result.exit_code == 3
    assert "structure" in result.stdout
    assert "--overwrite" in result.stdout
    assert "damaged (attributes: expected checksum" in error_of(run(tiny))
    assert run(tiny, "--overwrite").exit_code == 0
    assert cli("validate", cache).exit_code == 0


def test_validate_of_a_cache_elsewhere_takes_the_root(tiny: TinyData, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere" / "x.zarr"
    assert run(tiny, "--out", cache).exit_code == 0
    result = cli("validate", cache)
    assert result.exit_code == 0
    assert "0 frames recomputed: nothing wrong" in result.stdout
    assert f"no frame of the cache in {cache.parent} (expected files such as a/P0/depth/000.npy)" in result.stdout
    assert "not compared with depth; repair: pass the folder of the depth as --root" in result.stdout
    result = cli("validate", cache, "--root", tiny.root)
    assert result.exit_code == 0
    assert "8 frames recomputed: nothing wrong" in result.stdout
    assert "warning" not in result.stdout
    refused = cli("validate", cache, "--root", tmp_path)
    assert refused.exit_code == 1
    assert "no frame of the cache is there: expected files such as a/P0/depth/000.npy" in error_of(refused)


def test_datasets_lists_every_description() -> None:
    result = cli("datasets")
    assert (result.exit_code, result.stderr) == (0, "")
    for text in ("hospital", "tartanair-v2", "folder", "precompute datasets NAME"):
        assert text in result.stdout
    page = cli("datasets", "hospital").stdout
    for text in ("{sequence}/depth_left/{frame}_left_depth.npy", "https://", "run --dataset hospital"):
        assert text in page
    described = json.loads(cli("datasets", "hospital", "--json").stdout)
    assert described["hospital"]["files"]["depth"] == "{sequence}/depth_left/{frame}_left_depth.npy"
    assert len(json.loads(cli("datasets", "--json").stdout)) > 20
    assert "unknown data set 'hospitl'" in cli("datasets", "hospitl").output


def commands(command: click.Command, name: str = "precompute") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for sub, child in command.commands.items():
            yield from commands(child, f"{name} {sub}")


@pytest.mark.parametrize(("name", "command"), [pytest.param(*pair, id=pair[0]) for pair in commands(main)])
def test_every_command_has_help_for_each_option_and_an_example(name: str, command: click.Command) -> None:
    result = cli(*name.split()[1:], "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()[2].split()) >= 5  # a sentence under "Usage:"
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in ("version", "help"):
            assert option.help, option.name
            assert option.opts[0] in result.stdout
    if name != "precompute datasets":  # takes nothing
        assert f"{name} " in result.stdout.split("Example:")[1]


def test_the_examples_of_the_help_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, command in commands(main):
        for example in re.findall(r"^ +precompute (.*)$", (command.help or "").replace("\b", ""), re.MULTILINE):
            words = example.split()
            context = main.commands[words[0]].make_context(words[0], words[1:])
            assert context.params, (name, example)


# Options of run


def test_dry_run_writes_nothing_at_all(tiny: TinyData, tmp_path: Path) -> None:
    before = tree(tmp_path)
    result = run(tiny, "--dry-run")
    assert result.exit_code == 0
    assert re.search(
        r"would compute 8 frames, check 0, leave 0 as they are \(2 shards, in \d+ threads?\)", result.stdout
    )
    assert "are free" in result.stdout
    assert facts_of(run(tiny, "--dry-run", "--json", "--out", tmp_path / "x/y.zarr"))["compute"] == 8
    assert tree(tmp_path) == before
    run(tiny)
    tiny.write("b", "003", make_depth(24, 32, 9))
    before = tree(tmp_path)
    facts = facts_of(run(tiny, "--dry-run", "--json"))
    assert (facts["compute"], facts["check"]) == (4, 5)  # young files are looked at again
    assert facts["raw_bytes"] == 4 * 4 * (24 * 32 + 12 * 16)
    assert facts_of(run(tiny, "--dry-run", "--json", "--overwrite"))["compute"] == 9
    assert tree(tmp_path) == before


def test_limit_stops_after_whole_shards(tiny: TinyData) -> None:
    facts = facts_of(run(tiny, "--limit", "1", "--json"))
    assert (facts["computed"], facts["frames"]) == (5, 8)
    info = facts_of(cli("info", facts["cache"], "--json"))
    assert [(group["frames"], group["done"]) for group in info["groups"]] == [(5, 5), (3, 0)]
    assert facts_of(run(tiny, "--limit", "1", "--json"))["computed"] in (0, 3)  # or it hashes the first shard again


def test_three_parts_in_three_processes_give_the_cache_of_one_run(tiny: TinyData, tmp_path: Path) -> None:
    more_sequences(tiny, 5, 24, 32)
    cache = tmp_path / "parts.zarr"
    options = ["run", "--dataset", str(tiny.toml), "--strides", "1,2", "--out", str(cache), "--json"]
    parts = [
        subprocess.Popen([*COMMAND, *options, "--part", f"{index}/3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for index in (1, 2, 3)
    ]
    outputs = [part.communicate() for part in parts]
    assert [part.returncode for part in parts] == [0, 0, 0], outputs
    assert sum(json.loads(stdout)["computed"] for stdout, _ in outputs) == 13
    assert run(tiny).exit_code == 0
    assert maps(cache) == maps(tiny.root / "sigma_Z2.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts.zarr", "tiny"]  # no lock is left


def test_a_part_reports_its_own_frames(tiny: TinyData) -> None:
    more_sequences(tiny, 2, 24, 32)
    parts = [facts_of(run(tiny, "--part", f"{index}/2", "--json")) for index in (1, 2)]  # 5 and 1, 3 and 1 frames
    assert [(part["part"], part["total"], part["frames"], part["computed"], part["left"]) for part in parts] == [
        ("1/2", 10, 6, 6, 0), ("2/2", 10, 4, 4, 0),
    ]  # fmt: skip
    age(tiny.root)
    run(tiny)  # hashes the files, which look changed
    first = run(tiny, "--part", "1/2").stdout
    assert first.startswith("done   tiny, part 1/2: 0 frames computed, 6 unchanged, of its 6 (10 in all); ")
    dry = run(tiny, "--part", "2/2", "--dry-run").stdout
    assert dry.startswith("tiny, part 2/2: 4 frames (10 in all) → ")
    assert "would compute 0 frames, check 0, leave 4 as they are" in dry


def test_frames_that_no_sequence_can_hold_fail_in_one_part_only(tiny: TinyData) -> None:
    for sequence in "cde":
        tiny.write(sequence, "000", make_depth(24, 32, 0))
        (tiny.root / sequence / "depth/000.npy").write_bytes(b"broken")
    facts = [
        facts_of(run(tiny, "--part", f"{index}/2", "--on-error", "skip", "--json"), exit_code=4) for index in (1, 2)
    ]
    assert [(part["frames"], part["computed"], len(part["failed"])) for part in facts] == [(7, 5, 2), (4, 3, 1)]
    assert sorted(failed["key"][0] for part in facts for failed in part["failed"]) == ["c", "d", "e"]


def test_what_a_limit_leaves_is_counted(tiny: TinyData) -> None:
    assert "done   tiny: 5 frames computed, 3 left (--limit); " in run(tiny, "--limit", "1").stdout
    assert "left" not in run(tiny).stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_threads_are_by_default_the_cpus_that_the_process_may_use(tiny: TinyData) -> None:
    words = ["run", "--dataset", str(tiny.toml), "--strides", "1", "--dry-run", "--json"]
    one = min(os.sched_getaffinity(0))
    process = subprocess.run(
        [*COMMAND, *words], capture_output=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {one})
    )
    assert json.loads(process.stdout)["runs_in"] == "1 thread"


def test_threads_are_at_most_the_quota_of_the_container(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask.system, "CPU_COUNT", 3)  # which dask.system takes from affinity and cgroup
    assert facts_of(run(tiny, "--dry-run", "--json"))["runs_in"] == "3 threads"
    assert facts_of(run(tiny, "--dry-run", "--json", "--threads", "5"))["runs_in"] == "5 threads"
    assert facts_of(run(tiny, "--dry-run", "--json", "--workers", "2"))["runs_in"] == "2 worker processes"
    cluster = facts_of(run(tiny, "--dry-run", "--json", "--scheduler", "tcp://x:1"))["runs_in"]
    assert cluster == "the Dask workers of tcp://x:1"


def test_threads_run_at_most_so_many_shards_at_once(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    more_sequences(tiny, 8, 24, 32)
    reading, most, read = set(), [0], DepthSource.read

    def watched(self: DepthSource, key: str) -> Frame:
        reading.add(threading.get_ident())
        most[0] = max(most[0], len(reading))
        time.sleep(0.005)
        try:
            return read(self, key)
        finally:
            reading.discard(threading.get_ident())

    monkeypatch.setattr(DepthSource, "read", watched)
    for count in (1, 3):
        most[0] = 0
        assert facts_of(run(tiny, "--threads", count, "--overwrite", "--json"))["computed"] == 16
        assert most[0] <= count
    assert most[0] > 1  # the test sees threads


def test_workers_for_few_frames_are_advised_against(tiny: TinyData) -> None:
    advice = "workers=1: for 8 frames threads, the default, are faster: each process needs some 2 s to start"
    result = run(tiny, "--workers", "1")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, advice)
    assert advice not in run(tiny, "--overwrite").stderr


def test_compiling_is_said_once_and_before_the_bar(tiny: TinyData, tmp_path: Path) -> None:
    words = ["run", "--dataset", str(tiny.toml), "--strides", "1", "--estimator", "difference", "--overwrite"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    first, second = (
        subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True, env=environment).stderr
        for _ in range(2)
    )
    compiling, look, *lines = first.splitlines()
    assert compiling.startswith("compiling the CPU kernel for this machine (once, about 2 s; cached in ")
    assert look.startswith("looked at 3 frames: ")
    assert [line.split()[:3] for line in lines] == [["frames", "done", "0/8"], ["frames", "done", "8/8,"]]
    assert "compiling" not in second


def test_a_cluster_gives_the_cache_of_threads(
    tiny: TinyData, tmp_path: Path, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the cluster's processes are in another folder
    assert run(tiny, "--out", "threads.zarr").exit_code == 0
    assert run(tiny, "--out", "cluster.zarr", "--scheduler", dask_address).exit_code == 0
    assert maps(tmp_path / "threads.zarr") == maps(tmp_path / "cluster.zarr")


def test_a_dead_scheduler(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout="0.3s"))
    result = run(tiny, "--scheduler", "tcp://127.0.0.1:9")
    assert result.exit_code == 1
    assert re.search(r"^error: --scheduler tcp://127.0.0.1:9: cannot connect: .*$", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr
    assert done_frames(tiny.root) == 0


def test_overwrite_with_depth_and_the_kernels_options(tiny: TinyData) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    run(tiny)
    options = ("--with-depth", "--max-depth", "3", "--window", "7", "--lambda-prior", "1", "--alpha-clamp", "0.2")
    assert "computed with other parameters" in error_of(run(tiny, *options))
    assert facts_of(run(tiny, *options, "--overwrite", "--json"))["computed"] == 8
    reader, key = SigmaCache(cache), "b/depth/001.npy"
    expected = {
        "window": 7,
        "lambda_prior": 1.0,
        "alpha_clamp": 0.2,
        "max_depth": 3.0,
        "with_depth": True,
        "compat": None,
    }
    assert expected.items() <= reader.params.items()
    depth = np.load(tiny.root / key)
    np.testing.assert_array_equal(zarr.open_array(cache / "b/depth", mode="r")[1], depth)
    assert np.isinf(reader.read(key)[~((depth > 0) & (depth <= 3))]).all()
    assert np.isfinite(reader.read(key)[(depth > 0) & (depth <= 3)]).all()


def test_min_valid_decides_which_sparse_pixels_have_a_range(tiny: TinyData) -> None:
    """Of pairs of pixels that are 1 m apart; validate recomputes with what the cache records."""
    pairs = np.zeros((24, 32), np.float32)
    pairs[::6, ::6], pairs[1::6, ::6] = 4, 5
    key, sigma = tiny.write("sparse", "0", pairs), {}
    for least in (2, 3):
        assert run(tiny, "--min-valid", str(least), "--overwrite").exit_code == 0
        assert cli("validate", tiny.root / "sigma_Z2.zarr", "--full").exit_code == 0
        reader = SigmaCache(tiny.root / "sigma_Z2.zarr")
        assert reader.params["min_valid"] == least
        sigma[least] = np.sqrt(reader.read(key)[pairs > 0])
    assert sigma[2].min() > 0.25 > 0.1 > sigma[3].max()


def test_strides_are_sorted_and_1_is_among_them(tiny: TinyData) -> None:
    assert cli("run", "--dataset", tiny.toml, "--strides", "4,3,4").exit_code == 0
    reader = SigmaCache(tiny.root / "sigma_Z2.zarr")
    assert reader.strides == (1, 3, 4)
    assert reader.read("b/depth/000.npy", 3).shape == (8, 11)


def test_compat_pi3(tiny: TinyData, tmp_path: Path) -> None:
    assert run(tiny, "--compat", "pi3", "--out", tmp_path / "pi3.zarr").exit_code == 0
    run(tiny)
    ours, theirs = SigmaCache(tiny.root / "sigma_Z2.zarr"), SigmaCache(tmp_path / "pi3.zarr")
    assert theirs.params["compat"] == "pi3"
    key = "b/depth/000.npy"
    assert (np.isfinite(ours.read(key)) == np.isfinite(theirs.read(key))).all()
    assert not np.array_equal(ours.read(key), theirs.read(key))


def test_skipped_frames_are_listed_and_computed_when_repaired(tiny: TinyData) -> None:
    key = "b/depth/001.npy"
    (tiny.root / key).write_bytes(b"broken")
    age(tiny.root)
    result = run(tiny, "--on-error", "skip")
    assert result.exit_code == 4
    assert re.search(rf"failed frames \(fix the cause given, then run again\):\n  {key}: .*{key}", result.stdout)
    facts = facts_of(run(tiny, "--on-error", "skip", "--json"), exit_code=4)
    assert ([frame["key"] for frame in facts["failed"]], facts["unchanged"]) == ([key], 7)
    age(tiny.root)
    assert facts_of(run(tiny, "--on-error", "skip", "--json"), exit_code=4)["computed"] == 2  # the file looks changed
    assert facts_of(run(tiny, "--on-error", "skip", "--json"), exit_code=4)["unchanged"] == 7
    assert facts_of(run(tiny, "--on-error", "skip", "--json", "--dry-run"))["failed"][0]["key"] == key
    assert f"  {key}: " in run(tiny, "--on-error", "skip", "--dry-run").stdout
    assert (
        "frames       7 of 8 frames done, 1 failed, in 2 sequences\n" in cli("info", tiny.root / "sigma_Z2.zarr").stdout
    )
    assert key in error_of(run(tiny))
    assert key not in SigmaCache(tiny.root / "sigma_Z2.zarr").keys()
    tiny.write("b", "001", make_depth(24, 32, 1))
    assert facts_of(run(tiny, "--json", "--on-error", "skip"))["computed"] == 3
    assert cli("validate", tiny.root / "sigma_Z2.zarr", "--full").exit_code == 0


# Interruption


def finished_shards(cache: Path) -> int:
    return sum(1 for _ in cache.glob("**/digest/c.0.0"))


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("--workers", "2"), marks=pytest.mark.slow)], ids=["threads", "dask"]
)
def test_interrupted_and_resumed_is_the_cache_of_one_run(
    tiny: TinyData, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    shards = 30
    more_sequences(tiny, shards, 120, 160)
    age(tiny.root)
    cache = tmp_path / "cut.zarr"
    command = [*COMMAND, "run", "--dataset", str(tiny.toml), "--strides", "1", "--out", str(cache), *workers]
    cut = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while finished_shards(cache) < 4 and cut.poll() is None:
        time.sleep(0.002)
    os.killpg(cut.pid, signal.SIGINT)  # as a terminal does: to every process of the run
    stdout, stderr = cut.communicate()
    assert cut.returncode == 130, stderr
    assert stdout == ""
    assert stderr.splitlines()[-1] == "interrupted: what is done is kept; the same command goes on from there"
    assert "Traceback" not in stderr
    done = done_frames(cache.parent)
    assert 0 < done < shards + 8
    assert not cache.with_name("cut.zarr.lock").exists()
    facts = facts_of(cli("run", "--dataset", tiny.toml, "--strides", "1", "--out", cache, "--json"))
    assert facts["computed"] + facts["unchanged"] == shards + 8
    assert facts["unchanged"] == done
    assert cli("run", "--dataset", tiny.toml, "--strides", "1").exit_code == 0
    assert maps(cache) == maps(tiny.root / "sigma_Z2.zarr")


# Progress


def test_plain_progress_has_a_line_at_the_start_and_at_the_end(tiny: TinyData) -> None:
    look, start, end = run(tiny).stderr.splitlines()
    assert look.startswith("looked at 3 frames: ")
    assert start == "frames done 0/8"
    assert re.fullmatch(r"frames done 8/8, [\d.]+/s, [\d.]+ kB", end)


def test_validate_shows_its_progress_on_stderr(tiny: TinyData) -> None:
    run(tiny)
    for options in ((), ("--json",), ("--full",)):
        lines = cli("validate", tiny.root / "sigma_Z2.zarr", *options).stderr.splitlines()
        assert lines[::2] == ["groups read 0/2", "maps decoded 0/16", "frames compared 0/8"]
        for line, end in zip(
            lines[1::2], ("groups read 2/2", "maps decoded 16/16", "frames compared 8/8"), strict=True
        ):
            assert re.fullmatch(rf"{end}, [\d.]+/s", line)


def on_terminal(*words: str) -> tuple[str, str]:
    """Run a command with a terminal as stderr; return stdout, and what the terminal got."""
    leader, follower = pty.openpty()
    process = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, stderr=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 1 << 16).decode()
    os.close(leader)
    return process.stdout.decode(), shown


def test_a_terminal_gets_a_bar(tiny: TinyData) -> None:
    stdout, shown = on_terminal("run", "--dataset", str(tiny.toml), "--strides", "1", "--json")
    assert re.search(r"frames done \[#+\] 8/8, [\d.]+/s, [\d.]+ kB\r\n$", shown)
    assert json.loads(stdout)["computed"] == 8
    _, shown = on_terminal("validate", str(tiny.root / "sigma_Z2.zarr"), "--full")
    assert re.search(r"groups read \[#+\] 2/2.*maps decoded \[#+\] 8/8.*frames compared \[#+\] 8/8", shown, re.DOTALL)


# Where the data are


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A machine without data, and a quick writer of the sample; the folders that it wrote."""
    written: list[Path] = []

    def write(folder: Path, progress: object = None, *, threads: int) -> None:
        written.append(folder)
        write_hospital(folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hospital_files, "write_sample", write)
    return written


def write_hospital(folder: Path) -> None:
    (folder / "Easy/P000/depth_left").mkdir(parents=True, exist_ok=True)
    np.save(folder / "Easy/P000/depth_left/000000_left_depth.npy", make_depth(480, 640, 0))


def hospital(*options: object) -> Result:
    return cli("run", "--dataset", "hospital", "--strides", "1", *options)


def test_a_fresh_machine_gets_the_sample(sample: list[Path]) -> None:
    result = hospital("--json")
    facts = facts_of(result)
    assert (facts["dataset"], facts["cache"]) == ("hospital-sample", "data/hospital-sample/sigma_Z2.zarr")
    assert sample == [Path("data/hospital-sample")]
    assert [line for line in result.stderr.splitlines() if "built-in sample scene" in line] == [
        result.stderr.splitlines()[0]
    ]
    assert SigmaCache(facts["cache"]).attributes["dataset"] == "hospital-sample"
    assert cli("validate", facts["cache"]).exit_code == 0


def test_dry_run_never_writes_the_sample(sample: list[Path], tmp_path: Path) -> None:
    result = hospital("--dry-run")
    assert result.exit_code == 1
    assert "precompute demo data/hospital-sample" in result.stderr.splitlines()[-1]
    assert (sample, list(tmp_path.iterdir())) == ([], [])
    write_hospital(tmp_path / "data/hospital-sample")
    assert facts_of(hospital("--dry-run", "--json"))["compute"] == 1
    assert sample == []


@pytest.mark.parametrize(
    "options",
    [
        ("--root", "nowhere"), ("--out", "x.zarr"), ("--part", "1/2"), ("--scheduler", "tcp://127.0.0.1:9"),
        ("--root", "nowhere", "--dry-run"),
    ],
    ids=lambda options: "".join(options),
)  # fmt: skip
def test_a_run_that_says_where_never_gets_the_sample(
    sample: list[Path], options: tuple[str, ...], tmp_path: Path
) -> None:
    result = hospital(*options)
    assert result.exit_code == 1
    assert "--root" in error_of(result)
    assert (sample, list(tmp_path.iterdir())) == ([], [])


def test_depthvar_data_is_the_folder_above_the_data_sets(
    sample: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPTHVAR_DATA", str(tmp_path / "all"))
    result = hospital()
    assert result.exit_code == 1
    assert str(tmp_path / "all/hospital") in error_of(result)
    write_hospital(tmp_path / "all/hospital")
    facts = facts_of(hospital("--json"))
    assert (facts["dataset"], facts["cache"]) == ("hospital", "all/hospital/sigma_Z2.zarr")
    write_hospital(tmp_path / "mine")
    assert facts_of(hospital("--json", "--root", "mine"))["cache"] == "mine/sigma_Z2.zarr"  # --root comes first
    assert sample == []


def test_an_empty_depthvar_data_counts_as_unset(sample: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPTHVAR_DATA", "")
    assert facts_of(hospital("--json"))["dataset"] == "hospital-sample"


def test_another_data_set_without_a_root_is_an_error(sample: list[Path]) -> None:
    assert "--root DIR" in error_of(cli("run", "--dataset", "office"))
    assert sample == []


def test_demo_writes_no_local_folder_for_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("demo", "s3://bucket/scene")
    assert result.exit_code == 2
    assert "expected a folder, got a URL" in result.stderr
    assert not list(tmp_path.iterdir())


def test_demo_writes_where_it_is_told(sample: list[Path]) -> None:
    result = cli("demo", "scene")
    assert (result.exit_code, result.stdout, sample) == (0, "scene\n", [Path("scene")])


# Bad input


def truncate(tiny: TinyData) -> None:
    path = tiny.root / "b/depth/001.npy"
    path.write_bytes(path.read_bytes()[:500])


def empty_file(tiny: TinyData) -> None:
    (tiny.root / "b/depth/001.npy").write_bytes(b"")


def three_axes(tiny: TinyData) -> None:
    np.save(tiny.root / "b/depth/001.npy", np.ones((24, 32, 3), np.float32))


def integers(tiny: TinyData) -> None:
    np.save(tiny.root / "b/depth/001.npy", np.ones((24, 32), np.int32))


def camera_of_zeros(tiny: TinyData) -> None:
    (tiny.root / "b/camera/001.txt").write_text("0 0 0 0")


def no_camera(tiny: TinyData) -> None:
    (tiny.root / "b/camera/001.txt").unlink()


def no_frames(tiny: TinyData) -> None:
    for path in tiny.root.rglob("*.npy"):
        path.unlink()


def toml(old: str, new: str) -> Callable[[TinyData], None]:
    def spoil(tiny: TinyData) -> None:
        assert old in tiny.toml.read_text()
        tiny.toml.write_text(tiny.toml.read_text().replace(old, new))

    return spoil


def nothing(tiny: TinyData) -> None:
    """Leave the data set as it is."""


def other_folder(tiny: TinyData) -> None:
    (tiny.root / "other").mkdir()
    (tiny.root / "other/precious.txt").write_text("mine")


BAD: list[tuple[str, Callable[[TinyData], None], str, int, str]] = [
    ("missing root", nothing, "--root {root}/gone", 1, "gone: no such folder"),
    ("root is a file", nothing, "--root {root}/tiny.toml", 1, "a file, not a folder"),
    ("no frames", no_frames, "", 1, "no depth file matches"),
    ("unknown data set", nothing, "--dataset hospitl", 1, "unknown data set 'hospitl'.*hospital"),
    ("missing description", nothing, "--dataset gone.toml", 1, "gone.toml: cannot be read"),
    ("truncated file", truncate, "", 1, "b/depth/001.npy"),
    ("empty file", empty_file, "", 1, "b/depth/001.npy"),
    ("three axes", three_axes, "", 1, r"b/depth/001.npy.*\(24, 32, 3\)"),
    ("wrong dtype", integers, "", 1, "b/depth/001.npy.*int32"),
    ("unknown field", toml("[depth]", "[depth]\ncolour = 3"), "", 1, "tiny.toml.*colour"),
    ("missing field", toml('depth = "{sequence}/depth/{frame}.npy"', ""), "", 1, r"tiny.toml.*\[files\] depth"),
    ("no TOML", toml("[depth]", "[depth"), "", 1, "tiny.toml: expected TOML"),
    ("no camera file", no_camera, "", 1, "b/camera/001.txt"),
    ("camera of zeros", camera_of_zeros, "", 1, "b/camera/001.txt"),
    ("no intrinsics", nothing, "--dataset folder --root {root}", 1, "no intrinsics: pass --intrinsics"),
    ("fx of 0", nothing, "--intrinsics 0,40,16,12", 1, "fx, fy > 0|above 0|constant"),
    ("fx of nan", nothing, "--intrinsics nan,40,16,12", 1, "finite|constant"),
    ("three intrinsics", nothing, "--intrinsics 40,40,16", 1, "4|fx, fy, cx, cy"),
    ("intrinsics in words", nothing, "--intrinsics wide", 2, "--intrinsics: expected numbers"),
    ("max depth below 0", nothing, "--max-depth -1", 1, "max_depth"),
    ("max depth of nan", nothing, "--max-depth nan", 1, "max_depth"),
    ("no units", nothing, "--units-per-metre 0", 1, "units_per_metre"),
    ("window of 4", nothing, "--window 4", 2, "window: expected .*got 4"),
    ("window in words", nothing, "--window wide", 2, "--window"),
    ("lambda below 0", nothing, "--lambda-prior -0.5", 2, "lambda_prior: expected .*got -0.5"),
    ("lambda of nan", nothing, "--lambda-prior nan", 2, "lambda_prior: expected .*got nan"),
    ("alpha of 0", nothing, "--alpha-clamp 0", 2, "alpha_clamp: expected .*got 0"),
    ("alpha of 1.5", nothing, "--alpha-clamp 1.5", 2, "alpha_clamp: expected .*got 1.5"),
    ("more than a window", nothing, "--min-valid 26", 2, "min_valid: expected .* from 1 to window² = 25, got 26"),
    ("half a pixel", nothing, "--min-valid 2.5", 2, "--min-valid.*'2.5' is not a valid integer"),
    ("step below 0", nothing, "--quantisation-step -1", 2, "quantisation_step: expected .* from 0 to 1e9, got -1.0"),
    ("step in words", nothing, "--quantisation-step 1mm", 2, "--quantisation-step.*'1mm' is not a valid float"),
    ("step of pi3", nothing, "--compat pi3 --quantisation-step 1", 2, "quantisation_step: expected 0 with compat="),
    ("stride of 0", nothing, "--strides 1,0", 2, "strides: expected .*got 0"),
    ("strides in words", nothing, "--strides two", 2, "--strides: expected .*'two'"),
    ("no strides", nothing, "--strides ,", 2, "--strides: expected"),
    ("many strides", nothing, f"--strides {','.join(map(str, range(1, 99)))}", 2, "strides: expected .*at most 64"),
    ("a huge stride", nothing, f"--strides 1{'0' * 30}", 2, "strides: expected whole numbers from 1 to 1024"),
    ("root is no URL", nothing, "--root nosuch://x/scans --out x.zarr", 1, "nosuch://x/scans: expected a folder"),
    ("no output", nothing, "--out=", 2, "--out: expected a value, got an empty text; leave the option out"),
    ("no scheduler", nothing, "--scheduler=", 2, "--scheduler: expected a value, got an empty text"),
    ("camera of another resolution", nothing, "--intrinsics 80,80,31.5,23.5", 1, "inside a frame of 32×24.*another"),
    ("normalised camera", nothing, "--intrinsics 1.2,1.6,.5,.5", 1, "multiply normalised fx and cx by the width"),
    ("huge maximum", nothing, "--max-depth 1e16", 1, r"max_depth: expected a number of metres .* at most 1e.15"),
    ("huge unit", nothing, "--units-per-metre 1e300", 1, "units_per_metre: expected a number from 1e-9 to 1e9"),
    ("part 0", nothing, "--part 0/3", 2, "--part: expected I/N.*'0/3'"),
    ("part 4 of 3", nothing, "--part 4/3", 2, "--part: expected I/N.*'4/3'"),
    ("part x", nothing, "--part x", 2, "--part: expected I/N.*'x'"),
    ("part of a sign", nothing, "--part ²/3", 2, "--part: expected I/N"),
    ("limit of 0", nothing, "--limit 0", 2, "--limit"),
    ("two executors", nothing, "--workers 2 --scheduler tcp://x:1", 2,
     "expected one of them, got workers=2 and scheduler='tcp://x:1'"),
    ("three executors", nothing, "--threads 1 --workers 2 --scheduler tcp://x:1", 2,
     "threads, workers, scheduler: expected one of them, got threads=1 and workers=2 and scheduler="),
    ("threads and workers", nothing, "--threads 3 --workers 2", 2, "got threads=3 and workers=2"),
    ("no threads", nothing, "--threads 0", 2, "--threads"),
    ("no such device", nothing, "--device auto", 2, "'auto' is not one of 'cpu', 'cuda'"),
    ("a timeout of threads", nothing, "--timeout 5", 2, "timeout: expected workers or scheduler with it"),
    ("timeout of 0", nothing, "--workers 2 --timeout 0", 2, "--timeout"),
    ("no such option", nothing, "--colour 3", 2, "No such option.*--colour"),
    ("no such compat", nothing, "--compat pi4", 2, "pi3"),
    ("output below a file", nothing, "--out {root}/tiny.toml/x.zarr", 1, "tiny.toml/x.zarr.*cannot create the lock"),
    ("output is a file", nothing, "--out {root}/tiny.toml", 1, "exists and is not a depthvar cache"),
    ("output is a folder of others", other_folder, "--out {root}/other", 1, "exists and is not a depthvar cache"),
    ("overwrite of others", other_folder, "--out {root}/other --overwrite", 1, "exists and is not a depthvar cache"),
    ("no cuda", nothing, "--device cuda", 1, "device cuda: torch sees no CUDA device"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "options", "exit_code", "message"), [pytest.param(*case[1:], id=case[0]) for case in BAD]
)
def test_bad_input_is_one_line_and_nothing_counts_as_done(
    tiny: TinyData,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[TinyData], None],
    options: str,
    exit_code: int,
    message: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spoil(tiny)
    before = tree(tiny.root / "other")
    result = run(tiny, *options.format(root=tiny.root).split())
    assert result.exit_code == exit_code, result.output
    assert re.search(message, error_of(result)), result.stderr
    assert done_frames(tiny.root) in (0, 5)  # a/P0 is whole, and may have been done before b was met
    if exit_code == 2:
        assert not list(tiny.root.glob("*.zarr*"))
    assert not list(tiny.root.rglob("*.lock*"))
    assert tree(tiny.root / "other") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--window 7", "window is 5 in the cache and 7 in this run"),
        ("--lambda-prior 0.7", "lambda_prior is 0.5 in the cache and 0.7"),
        ("--alpha-clamp 0.1", "alpha_clamp is 0.3 in the cache and 0.1"),
        ("--min-valid 4", "min_valid is 3 in the cache and 4"),
        ("--quantisation-step 0.001", "quantisation_step is None in the cache and 0.001"),
        ("--compat pi3", "compat is None in the cache and 'pi3'"),
        ("--strides 1,3", r"strides is \[1, 2\] in the cache and \[1, 3\]"),
        ("--max-depth 9", "max_depth is None in the cache and 9.0"),
        ("--with-depth", "with_depth is False in the cache and True"),
        ("--units-per-metre 2", "units_per_metre is 1.0 in the cache and 2.0 in this run"),
    ],
)
def test_a_cache_of_other_parameters_is_refused(tiny: TinyData, options: str, message: str) -> None:
    run(tiny)
    before = tree(tiny.root)
    for dry in ([], ["--dry-run"]):
        result = run(tiny, *options.split(), *dry)
        assert result.exit_code == 1
        line = error_of(result)
        assert re.search(message, line), line
        assert "--overwrite" in line
        assert "--out" in line
    assert {name: found for name, found in tree(tiny.root).items() if found[1]} == {
        name: found for name, found in before.items() if found[1]
    }


@pytest.mark.parametrize("command", ["info", "validate"])
def test_a_path_that_is_no_cache(tiny: TinyData, tmp_path: Path, command: str) -> None:
    import zarr

    zarr.create_group(tmp_path / "foreign.zarr", attributes={"made": "elsewhere"})
    zarr.create_array(tmp_path / "array.zarr", shape=(3,), dtype="f4")
    run(tiny)
    (tiny.root / "sigma_Z2.zarr/zarr.json").write_text("{ garbage")
    for path, message in (
        (tmp_path / "gone.zarr", "no cache is there"),
        (tmp_path / "foreign.zarr", "not a depthvar cache"),
        (tmp_path / "array.zarr", "array.zarr"),
        (tiny.toml, "tiny.toml"),
        (tiny.root, "cache"),
        (tiny.root / "sigma_Z2.zarr", "zarr.json|cannot be opened"),
    ):
        result = cli(command, path)
        assert result.exit_code == 1, path
        assert re.search(message, error_of(result)), path
    result = cli("validate", tmp_path / "gone/x.zarr", "--clear")
    assert result.exit_code == 1
    assert not (tmp_path / "gone").exists()
    assert "zarr.json: unreadable (expected JSON" in error_of(run(tiny))


def test_no_space_is_one_line_and_a_later_run_finishes(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, real = tiny.root / "sigma_Z2.zarr", open

    def full(path: object, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "x" in mode and "/b/sigma_Z2_s2/c." in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, *arguments, **options)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", full)
        result = run(tiny)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "No space left on device" in errors[0]
    assert "run the same command again" in errors[0]
    assert "Traceback" not in result.stderr
    assert not zarr.open_array(cache / "b/digest", mode="r")[:].any()
    assert not [key for key in SigmaCache(cache).keys() if key.startswith("b/")]
    assert run(tiny).exit_code == 0
    assert cli("validate", cache, "--full").exit_code == 0


def test_a_file_that_changes_while_it_is_read(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    read, touched = DepthSource.read, tiny.root / "b/depth/002.npy"

    def slow(self: DepthSource, key: str) -> Frame:
        frame = read(self, key)
        if key == "b/depth/002.npy":
            os.utime(touched)
        return frame

    with monkeypatch.context() as patch:
        patch.setattr(DepthSource, "read", slow)
        result = run(tiny)
        assert result.exit_code == 1
        assert re.search("^error: .*b/depth/002.npy: the file changed while it was read", result.stderr, re.MULTILINE)
        assert facts_of(run(tiny, "--on-error", "skip", "--json"), exit_code=4)["failed"][0]["key"] == "b/depth/002.npy"
    assert run(tiny).exit_code == 0
    assert cli("validate", tiny.root / "sigma_Z2.zarr", "--full").exit_code == 0


def test_an_error_of_the_program_itself_is_not_dressed_up(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(pipeline, "survey", bug)
    with pytest.raises(RuntimeError, match="a bug"):
        run(tiny)
