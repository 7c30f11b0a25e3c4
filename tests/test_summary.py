"""The few numbers that run, validate and info print of depth and σ: exact, and the same however the work is divided."""

import functools
import itertools
import json
import operator
import os
import re
import time
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_data import TinyData, make_depth

from depthvar.datasets import SigmaCache
from depthvar.datasets.frame import Frame
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline.summary import DepthSummary, SigmaSummary, Stopwatch, stage_seconds

depths = npst.arrays(
    np.float32, (3, 5), elements=st.sampled_from([0, -1, np.nan, np.inf, 0.25, 1, 3.5, 80, 81, 10_000])
)
sigmas = npst.arrays(np.float32, (3, 5), elements=st.sampled_from([np.inf, 1e-12, 1e-3, 0.25, 0.26, 7]))


def frame(depth: NDArray[np.float32], max_depth: float | None = 80) -> Frame:
    height, width = depth.shape
    return Frame("key", depth, np.array([width, width, width / 2, height / 2]), max_depth)


@given(st.lists(depths, min_size=1, max_size=5), st.sampled_from([None, 80.0]))
def test_the_summary_of_frames_is_that_of_all_their_pixels(
    maps: list[NDArray[np.float32]], limit: float | None
) -> None:
    facts = functools.reduce(operator.add, (DepthSummary.of(frame(each, limit)) for each in maps))
    depth = np.concatenate(maps)
    valid = frame(depth, limit).valid
    unknown = ~(depth > 0)  # NaN, too
    assert (facts.frames, facts.pixels, facts.valid) == (len(maps), depth.size, valid.sum())
    assert facts.pixels - facts.valid - facts.far == unknown.sum()
    limits = (depth[valid].min(), depth[valid].max()) if valid.any() else (None, None)
    assert (facts.to_json()["min_m"], facts.to_json()["max_m"]) == limits
    assert json.loads(json.dumps(facts.to_json(), allow_nan=False)) == facts.to_json()


@given(st.lists(sigmas, min_size=1, max_size=4))
def test_the_parts_add_up_in_any_order(maps: list[NDArray[np.float32]]) -> None:
    whole = SigmaSummary.of(np.concatenate(maps))
    for order in itertools.permutations(SigmaSummary.of(each) for each in maps):
        total = functools.reduce(operator.add, order, SigmaSummary())
        assert total.frames == len(maps)
        for name in ("pixels", "finite", "least", "largest", "histogram"):
            assert getattr(total, name) == getattr(whole, name), name


any_float = st.integers(0, 2**32 - 1).map(lambda bits: np.uint32(bits).view(np.float32))
special = st.sampled_from([*map(np.float32, (np.inf, -np.inf, np.nan, 0, -1, 2**-40, 80, 2**50, 3.4e38))])
copies = st.sampled_from([(1, 1), (70, 70)])  # of 3×5 pixels; in the larger ones the histogram leaves some out


def small(shape: tuple[int, int]) -> st.SearchStrategy[NDArray[np.float32]]:
    return npst.arrays(np.float32, shape, elements=special | any_float)


def agree_as_numbers(one: DepthSummary | SigmaSummary, other: DepthSummary | SigmaSummary) -> None:
    got, wanted = dict(vars(one)), dict(vars(other))
    assert got.pop("histogram", None) == wanted.pop("histogram", None)
    np.testing.assert_array_equal([*got.values()], [*wanted.values()])  # NaN is NaN, -0 is 0
    assert [*map(type, got.values())] == [*map(type, wanted.values())]


@given(small((3, 5)), copies, st.booleans())
def test_one_pass_over_sigma_finds_what_numpy_finds(
    some: NDArray[np.float32], copies: tuple[int, int], turned: bool
) -> None:
    sigma_z2 = np.tile(some, copies)
    sigma_z2 = sigma_z2.T if turned else sigma_z2
    sigma_z2.flags.writeable = False
    agree_as_numbers(SigmaSummary.of(sigma_z2), SigmaSummary.by_numpy(sigma_z2))


@given(small((3, 5)), copies, st.booleans(), st.sampled_from([None, 80.0, 0.3, np.inf]))
def test_one_pass_over_depth_finds_what_numpy_finds(
    some: NDArray[np.float32], copies: tuple[int, int], turned: bool, limit: float | None
) -> None:
    depth = np.tile(some, copies)
    depth = depth.T if turned else depth
    depth.flags.writeable = False
    given_frame = frame(depth, limit)
    valid = given_frame.valid
    count = int(valid.sum())
    limits = float(depth.min(where=valid, initial=np.inf)), float(depth.max(where=valid, initial=0))
    agree_as_numbers(
        DepthSummary.of(given_frame), DepthSummary(1, depth.size, count, int((depth > 0).sum()) - count, *limits)
    )


@given(st.lists(st.floats(2**-33, 2**20, width=32), min_size=1, max_size=200), st.sampled_from([0.05, 0.5, 0.95]))
def test_a_quantile_is_that_of_the_values_within_a_bin(values: list[float], share: float) -> None:
    sigma_z2 = np.array([[*values, np.inf]], np.float32)
    found = SigmaSummary.of(sigma_z2).quantile(share)
    exact = np.sqrt(np.quantile(sigma_z2[0, :-1], share, method="inverted_cdf"))
    assert found == pytest.approx(exact, rel=0.065)  # half a bin is 1/16 of σ²


def test_large_maps_have_exact_limits_and_counts() -> None:
    sigma_z2 = np.full((480, 640), np.inf, np.float32)
    sigma_z2[1, 1], sigma_z2[2, 3], sigma_z2[4, 4] = 1e-4, 9, 1  # the first two are in no row and column of 4
    facts = SigmaSummary.of(sigma_z2).to_json()
    assert (facts["min_m"], facts["max_m"], facts["finite_share"]) == (pytest.approx(0.01), 3.0, 3 / sigma_z2.size)


def test_nothing_at_all() -> None:
    assert set(SigmaSummary().to_json().values()) == set(DepthSummary().to_json().values()) == {0, None}
    assert SigmaSummary.of(np.full((2, 2), np.inf, np.float32)).to_json()["median_m"] is None


# On the command line


def facts_of(*words: object) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def text_of(*words: object) -> str:
    result = CliRunner().invoke(main, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def expected(tiny: TinyData) -> dict[str, dict[str, Any]]:
    """What the summaries must hold, from the stored maps and the depth themselves."""
    cache, source = SigmaCache(tiny.root / "sigma_Z2.zarr"), tiny.source()
    sigma = np.sqrt(np.concatenate([cache.read(key).ravel() for key in cache.keys()]))
    depth = np.concatenate([frame.depth.ravel() for frame in source])
    valid, count = np.isfinite(depth) & (depth > 0), len(source)
    return {
        "sigma": {"frames": count, "min_m": sigma.min(), "max_m": sigma[np.isfinite(sigma)].max(),
                  "finite_share": np.isfinite(sigma).mean()},
        "depth": {"frames": count, "min_m": depth[valid].min(), "max_m": depth[valid].max(),
                  "valid_share": valid.mean(), "unknown_share": (depth == 0).mean(),
                  "far_share": np.isinf(depth).mean()},
    }  # fmt: skip


def agree(got: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("how", [("--threads", "1"), ("--threads", "3"), ("--workers", "1")], ids=" ".join)
def test_run_and_validate_have_the_ranges_of_what_they_saw(tiny: TinyData, how: tuple[str, ...]) -> None:
    facts = facts_of("run", "--dataset", tiny.toml, *how)
    wanted = expected(tiny)
    for name in wanted:
        agree(facts[name], wanted[name])
    facts = facts_of("validate", tiny.root / "sigma_Z2.zarr", "--full")
    for name in wanted:
        agree(facts[name], wanted[name])
    assert facts_of("validate", tiny.root / "sigma_Z2.zarr", "--recompute", "0")["depth"]["frames"] == 0


def test_each_summary_has_them_in_one_line(tiny: TinyData) -> None:
    cache = tiny.root / "sigma_Z2.zarr"
    ran = text_of("run", "--dataset", tiny.toml)
    wanted = expected(tiny)
    least, most, near, far = (wanted[name][limit] for name in ("sigma", "depth") for limit in ("min_m", "max_m"))
    sigma, depth = f"σ      {least:.2g} to {most:.2g} m, median ", f"depth  {near:.3g} to {far:.3g} m (pixels: "
    shares = [f"{100 * wanted['depth'][f'{kind}_share']:.1f} % {kind}" for kind in ("valid", "unknown", "far")]
    first, second, *_ = ran.splitlines()
    assert first == f"{depth}{', '.join(shares)})"
    assert second.startswith(sigma)
    validated = text_of("validate", cache, "--full").splitlines()
    assert validated[1].startswith(sigma)
    assert validated[1].endswith(" in 8 frames")
    assert validated[2] == f"{depth}{', '.join(shares)}) in 8 frames"
    info = text_of("info", cache)
    assert f"\n{sigma.replace('σ', 'σ      ', 1)}" in info
    assert (
        f"\npixels       {shares[0].removesuffix(' valid')} have a σ (as seen in 8 of 8 frames, evenly spread)\n"
        in info
    )
    again = text_of(
        "run", "--dataset", tiny.toml, "--limit", "1", "--overwrite", "--max-depth", "0.1"
    )  # nothing is valid
    assert "no valid depth (pixels: 0 % valid, " in again


def test_info_says_of_how_many_frames_it_speaks(tmp_path: Path) -> None:
    tiny = TinyData(tmp_path / "tiny")
    for index in range(30):
        tiny.write("a", f"{index:03}", make_depth(24, 32, index) * (100 if index in (0, 29) else 1))
    facts_of("run", "--dataset", tiny.toml)
    cache = tiny.root / "sigma_Z2.zarr"
    facts = facts_of("info", cache)
    assert facts["sigma"]["frames"] == 8
    reader = SigmaCache(cache)
    ends = np.concatenate([reader.read(f"a/depth/{index:03}.npy") for index in (0, 29)])
    assert facts["sigma"]["max_m"] == pytest.approx(np.sqrt(ends[np.isfinite(ends)].max()))  # first and last are read
    assert "(as seen in 8 of 30 frames, evenly spread)" in text_of("info", cache)


def test_info_of_a_damaged_cache_says_how_many_it_cannot_read(tiny: TinyData) -> None:
    facts_of("run", "--dataset", tiny.toml)
    cache = tiny.root / "sigma_Z2.zarr"
    (cache / "b/sigma_Z2/c.0.0.0").unlink()
    facts = facts_of("info", cache)
    assert (facts["sigma"]["frames"], facts["unreadable"]) == (5, 3)
    assert "3 of the frames looked at cannot be read: precompute validate" in text_of("info", cache)


def test_info_of_a_cache_without_a_frame(tiny: TinyData) -> None:
    facts_of("run", "--dataset", tiny.toml, "--limit", "1")
    cache = tiny.root / "sigma_Z2.zarr"
    (cache / "a/P0/digest/c.0.0").unlink()
    assert facts_of("info", cache)["sigma"]["frames"] == 0
    assert "values " not in text_of("info", cache)


# Where the time goes


def test_laps_add_up_to_the_time_that_passed() -> None:
    began = time.perf_counter()
    watch = Stopwatch()
    for stage in ("read", "kernel", "read"):
        time.sleep(0.01)
        watch.lap(stage)
    passed = time.perf_counter() - began
    assert watch.seconds["read"] >= 0.02
    assert 0.03 <= sum(watch.seconds.values()) <= passed


def test_stages_are_shown_with_the_longest_first_and_what_was_idle() -> None:
    spent = {"read": 1.0, "kernel": 3.0}
    assert stage_seconds(spent, wall=2.5, at_once=2) == {"kernel": 3.0, "read": 1.0, "idle": 1.0}
    assert list(stage_seconds(spent, 2.5, 2)) == ["kernel", "read", "idle"]
    assert stage_seconds(spent, 1.0, 2)["idle"] == 0
    assert "idle" not in stage_seconds(spent, 2.5, None)


def test_the_command_says_where_the_time_went(tiny: TinyData) -> None:
    words = ("run", "--dataset", tiny.toml, "--root", tiny.root)
    for computed in (8, 0):
        done, time, following = text_of(*words).splitlines()[-3:]
        assert done.startswith(f"done   tiny: {computed} frames computed")
        assert time.startswith("time   ")
        assert 95 <= sum(float(share) for share in re.findall(r" ([\d.]+) %", time)) <= 105
        assert following == f"next   precompute preview {os.path.relpath(tiny.root / 'sigma_Z2.zarr')}"
