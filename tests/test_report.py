"""The report of a cache: what it measures, which frames it shows, and that its page is whole, small and harmless."""

import json
import os
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiny_data import TinyData, make_depth

from depthvar.datasets import CacheError, Frame, ParameterError, Source, open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import Difference, KernelParams, run, sigma_z2, write_report
from depthvar.precompute.cli.main import main
from depthvar.precompute.pictures.weights import FORMS
from depthvar.precompute.report import charts, tiles
from depthvar.precompute.report.checks import checks
from depthvar.precompute.report.choose import choose
from depthvar.precompute.report.measure import DISTANCE_NAMES, Bins, Looked, Totals, distance_classes
from depthvar.precompute.report.page import plain

RANGE = {"estimator": "range", "window": 5, "lambda_prior": 0.5, "alpha_clamp": 0.3, "min_valid": 3, "compat": None}
PARAMETERS = RANGE | {"max_depth": None, "keepbits": 8}


@pytest.fixture
def cache(tiny: TinyData) -> str:
    run(tiny.source())
    return str(tiny.root / "sigma_Z2.zarr")


class Page(HTMLParser):
    """What a browser would load or run: elements with their attributes, and texts by element."""

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.source = Path(path).read_text("utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))

    @property
    def viewer(self) -> dict[str, Any]:
        (data,) = re.findall(r'<script type="application/json" id="viewer-data">(.*?)</script>', self.source)
        return json.loads(data)


# What is measured


@given(arrays(np.float32, 50, elements=st.floats(2**-20, 2**20, width=32)), st.floats(0.05, 0.95))
def test_quantiles_of_bins_are_at_most_a_bin_from_those_of_the_values(values: np.ndarray, share: float) -> None:
    bins = Bins(-7, 7, 10)
    counts = np.bincount(bins.places(values), minlength=bins.count)
    (got,) = bins.quantiles(counts, (share,)) or []
    low, high = np.quantile(values, [share], method="lower"), np.quantile(values, [share], method="higher")
    assert 0.99 * low[0] / 10**0.1 <= got <= 1.01 * high[0] * 10**0.1


@given(arrays(np.bool_, (12, 15), elements=st.booleans()))
def test_the_distance_to_an_edge_is_the_larger_of_rows_and_columns(edges: np.ndarray) -> None:
    edges &= np.random.default_rng(0).random(edges.shape) < 0.1
    found = distance_classes(edges)
    last = [0, 1, 2, 4, 8]
    for (v, u), place in np.ndenumerate(found):
        away = min((max(abs(v - y), abs(u - x)) for y, x in np.argwhere(edges)), default=99)
        assert place == sum(away > end for end in last)
        assert place < len(DISTANCE_NAMES)


def test_totals_add_up_and_hold_no_more_for_more_frames() -> None:
    totals, camera = Totals(PARAMETERS), np.array([40.0, 40, 16, 12])
    frames = [Frame(str(i), make_depth(24, 32, i), camera) for i in range(3)]
    for frame in frames:
        variance = sigma_z2(frame.depth, camera)
        looked = totals.add(frame.key, "a", variance, frame)
        sigma = np.sqrt(variance[np.isfinite(variance)])
        assert looked.contradiction is None
        assert looked.sigma == pytest.approx(np.median(sigma))
        assert looked.share == pytest.approx(len(sigma) / variance.size)
        assert looked.ratio == pytest.approx(np.median(sigma / frame.depth[frame.valid]))
    valid = sum(int(frame.valid.sum()) for frame in frames)
    assert totals.sigma.sum() == totals.ratio.sum() == totals.pixels == valid
    for form in FORMS:
        assert totals.weights[form].sum() == valid
        for by in totals.weight_by.values():
            assert by[form].sum() == pytest.approx(valid, rel=1e-5)  # a mean of 1 in each frame
    for by_class in totals.ratio_by.values():
        np.testing.assert_array_equal(by_class.sum(0), totals.ratio)


def test_of_a_large_frame_a_part_is_counted_and_the_medians_hold() -> None:
    random = np.random.default_rng(0)
    depth = random.uniform(1, 9, (480, 640)).astype(np.float32)
    frame = Frame("a", depth, np.array([300.0, 300, 320, 240]))
    totals = Totals({**PARAMETERS, "window": 3})
    looked = totals.add("a", "", sigma_z2(depth, frame.intrinsics, KernelParams(window=3)), frame)
    assert totals.pixels == depth.size
    assert 30_000 < totals.sigma.sum() < 50_000
    assert looked.depth == pytest.approx(5, rel=0.02)


# Checks


def looked(key: str, **facts: Any) -> Looked:
    plain = {"share": 1.0, "sigma": 0.1, "least": 1e-4, "depth": 2.0, "reach": (1.0, 3.0), "far": 0.0, "ratio": 0.05}
    return Looked(key, "a", **(plain | {"edges": 0.1} | facts))


def sums(edge: float, smooth: float, far: float = 2.0, near: float = 1.0) -> dict[str, tuple[float, int]]:
    return {name: (float(np.log(value)), 1) for name, value in locals().items()}


def state_of(totals: Totals, frames: list[Looked], damaged: list[tuple[str, str]] | None = None) -> list[str]:
    return [check.state for check in checks(totals, frames, damaged or [], "")]


def test_each_check_fails_alone_for_its_reason() -> None:
    totals = Totals(PARAMETERS)
    totals.log_sigma = sums(2, 1)
    good = [looked("a", log_sigma=totals.log_sigma)]
    assert state_of(totals, good) == ["holds"] * 4
    assert state_of(totals, good, [("b", "b: damaged")]) == ["holds", "holds", "look", "holds"]
    assert state_of(totals, [looked("a", least=0.0)])[2] == "look"
    assert state_of(totals, [looked("a", contradiction="4 m² at row 0")]) == ["holds", "holds", "holds", "look"]
    totals.log_sigma = sums(1, 2)
    assert state_of(totals, good) == ["look", "holds", "holds", "holds"]
    totals.log_sigma = sums(2, 1, far=1, near=2)
    assert state_of(totals, good) == ["holds", "look", "holds", "holds"]
    found = checks(Totals(PARAMETERS), [Looked("a", "a", 1.0, 0.1, 1e-4)], [], "no depth: pass --root")
    assert [(check.state, check.numbers) for check in found if check.state != "holds"] == [
        ("not checked", "no depth: pass --root")
    ] * 3


# Which frames are shown


def test_suspicious_frames_are_those_of_the_rules_and_are_shown_once() -> None:
    frames = [looked(str(i), ratio=0.05 * 1.01**i, edges=0.01 * i, depth=1 + i) for i in range(20)]
    picks, left_out = choose(frames)
    assert [pick.kind for pick in picks] == ["typical"] * 2 + ["extreme"] * 2
    assert left_out == 0
    assert {pick.frame.key for pick in picks} == {"9", "10", "0", "19"}
    strange = {
        "few": looked("few", share=0.05),
        "far": looked("far", ratio=0.9),
        "smooth": looked("smooth", log_sigma=sums(1, 2)),
        "wrong": looked("wrong", contradiction="4 m² at row 0, column 1"),
    }
    reasons = {
        "few": "only 5.0 % of the pixels have a σ",
        "far": "median σ/Z 0.9, in the other frames 0.055",
        "smooth": "typical σ 1 m at edges, 2 m elsewhere",
        "wrong": "σ² contradicts the depth: 4 m² at row 0, column 1",
    }
    for name, frame in strange.items():
        shown = {pick.frame.key: (pick.kind, pick.why) for pick in choose([*frames, frame])[0]}
        assert shown[name] == ("suspicious", reasons[name])
        assert sum(kind == "suspicious" for kind, _ in shown.values()) == 1
    picks, left_out = choose([*frames, *strange.values()])
    assert len({pick.frame.key for pick in picks}) == len(picks) <= 8
    assert left_out == 2


def test_any_few_frames_can_be_chosen_from() -> None:
    assert choose([]) == ([], 0)
    for one in (looked("a"), Looked("a", "a", 1.0, 0.1, 1e-4), Looked("a", "a", 0.0, None, None)):
        picks, _ = choose([one])
        assert [pick.frame for pick in picks] == [one] or one.sigma is None


# Numbers for the viewer


@given(arrays(np.float32, (5, 7), elements=st.floats(2**-40, 2**50, width=32) | st.sampled_from([0.0, np.inf])))
def test_embedded_depth_is_within_its_rounding_and_keeps_what_has_no_depth(depth: np.ndarray) -> None:
    got = tiles.rounded(depth)
    np.testing.assert_array_equal(got[~np.isfinite(depth) | (depth == 0)], depth[~np.isfinite(depth) | (depth == 0)])
    known = np.isfinite(depth) & (depth > 0)
    assert (np.abs(got[known] - depth[known]) <= 2.0**-15 * depth[known]).all()


def test_a_frame_of_any_size_is_shown_at_a_stride_that_fits() -> None:
    for shape in ((1, 1), (480, 640), (2160, 3840), (321, 10)):
        assert max(-(-side // tiles.stride_of(shape)) for side in shape) <= tiles.SIDE
    assert tiles.stride_of((480, 640)) == 2


@pytest.mark.parametrize("value", [0, 1e-9, 0.00123, 0.01, 0.5, 1, 9.99, 12.3, 123, 9999, 123456, 1e12])
def test_a_number_is_short_and_close(value: float) -> None:
    text = charts.number(value).translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace("·10", "e")
    assert float(text) == pytest.approx(value, rel=0.05)
    assert len(text) < 8


# The page


def test_the_page_is_whole_and_asks_the_network_for_nothing(cache: str, tmp_path: Path) -> None:
    found = write_report(cache, tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert found.bytes == os.path.getsize(tmp_path / "r.html") < 200_000
    assert (found.frames, found.looked_at, found.unreadable, found.no_depth) == (8, 8, (), "")
    for tag, attributes in page.tags:
        for name in ("src", "href", "action", "poster", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert "url(" not in page.source.split("</style>")[0]
    (policy,) = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = {attributes.get("for") for tag, attributes in page.tags if tag == "label"}
    assert {"window", "lambda", "alpha"} <= labelled
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    for text in ("a/P0", "32×24", "lambda_prior", "σ is larger at edges of the depth", "4 of 4 checks hold"):
        assert text in page.text
    assert [frame["key"] for frame in page.viewer["frames"]] == [key for key, _, _ in found.shown]


def test_the_same_cache_gives_the_same_bytes(cache: str, tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(cache, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


HOSTILE = "<script>alert(1)</script>\"'&{{x}}<img src=x onerror=alert(1)>"


class Hostile(Source):
    name = HOSTILE

    def keys(self) -> list[str]:
        return [f"{HOSTILE}/{i}" for i in range(2)]

    def read(self, key: str) -> Frame:
        return Frame(key, make_depth(24, 32, 1), np.array([40.0, 40, 16, 12]))


def test_names_of_the_data_are_text_and_never_markup(tmp_path: Path) -> None:
    run(Hostile(), tmp_path / "x.zarr")
    found = write_report(tmp_path / "x.zarr", tmp_path / "r.html", Hostile())
    page = Page(tmp_path / "r.html")
    assert not any(attributes.get("src") == "x" or "onerror" in attributes for _, attributes in page.tags)
    assert [attributes.get("id") for tag, attributes in page.tags if tag == "script"] == ["viewer-data", None]
    assert HOSTILE in page.text
    assert page.viewer["frames"][0]["key"] == found.shown[0][0] == f"{HOSTILE}/0"


def test_credentials_of_a_url_are_not_in_the_page() -> None:
    assert plain("s3://me:secret@bucket/x\x1b") == "s3://***@bucket/x\\x1b"


def test_without_depth_it_says_so_and_shows_sigma(tiny: TinyData, cache: str, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    os.rename(cache, moved / "sigma_Z2.zarr")
    found = write_report(moved / "sigma_Z2.zarr", tmp_path / "r.html")
    assert found.no_depth == "the depth files are not where the cache is: pass the folder of the depth as --root"
    page = Page(tmp_path / "r.html")
    assert f"Without depth this report shows σ alone: {found.no_depth}." in page.text
    assert not any(tag == "script" for tag, _ in page.tags)
    assert {attributes["data-map"] for tag, attributes in page.tags if tag == "img"} == {"σ"}
    assert [check.state for check in found.checks] == ["not checked", "not checked", "holds", "not checked"]
    assert not write_report(moved / "sigma_Z2.zarr", tmp_path / "r.html", tiny.root).no_depth
    with pytest.raises(CacheError, match=r"no frame of the cache is there: expected files such as a/P0/depth/000.npy"):
        write_report(moved / "sigma_Z2.zarr", tmp_path / "r.html", moved)
    with pytest.raises(CacheError, match="nowhere: no frame of the cache is there"):
        write_report(moved / "sigma_Z2.zarr", tmp_path / "r.html", tmp_path / "nowhere")


def test_depth_that_the_cache_holds_is_used(tiny: TinyData, tmp_path: Path) -> None:
    run(tiny.source(), tmp_path / "c/with.zarr", with_depth=True)
    run(tiny.source(), tmp_path / "without.zarr")
    stored = write_report(tmp_path / "c/with.zarr", tmp_path / "a.html")
    from_files = write_report(tmp_path / "without.zarr", tmp_path / "b.html", tiny.root)
    assert (stored.no_depth, stored.checks, stored.shown) == ("", from_files.checks, from_files.shown)


@pytest.mark.parametrize("params", [Difference(), KernelParams(compat="pi3")], ids=["difference", "pi3"])
def test_another_estimator_has_its_own_sigma_and_no_sliders(tiny: TinyData, tmp_path: Path, params: Any) -> None:
    run(tiny.source(), params=params)
    write_report(tiny.root / "sigma_Z2.zarr", tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert page.viewer["kernel"] is None
    assert all(frame["variance"] for frame in page.viewer["frames"])
    assert not any(attributes.get("type") == "range" for _, attributes in page.tags)
    assert "nothing can be changed here" in page.text


def test_what_cannot_be_read_is_listed_and_the_rest_is_shown(tiny: TinyData, cache: str, tmp_path: Path) -> None:
    (tiny.root / "b/depth/001.npy").write_bytes(b"damaged")
    shard = next(path for path in Path(cache).glob("a/P0/sigma_Z2/c*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[10] ^= 255  # in the first chunk of the first frame
    shard.write_bytes(data)
    found = write_report(cache, tmp_path / "r.html")
    assert sorted(key for key, _ in found.unreadable) == ["a/P0/depth/000.npy", "b/depth/001.npy"]
    assert found.looked_at == 7
    assert found.checks[2].state == "look"
    assert "2 of the frames looked at could not be read in full" in Page(tmp_path / "r.html").text


def test_no_more_frames_are_read_than_asked_for_and_they_are_spread(
    tiny: TinyData, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depthvar.precompute.report import report as module

    read = []
    real = module.read_frame
    monkeypatch.setattr(module, "read_frame", lambda source, key: (read.append(key), real(source, key))[1])
    progress: list[tuple[str, int, int, int]] = []
    found = write_report(cache, tmp_path / "r.html", frames=2, progress=lambda *step: progress.append(step))
    assert found.looked_at == 2
    assert [key.partition("/")[0] for key in read] == ["a", "b"]
    assert progress == [("frames read", done, 2, 0) for done in range(3)]


def test_a_cache_without_a_frame_has_a_report(tiny: TinyData, tmp_path: Path) -> None:
    for path in tiny.root.rglob("*/depth/*.npy"):
        path.write_bytes(b"damaged")
    run(tiny.source(), on_error="skip")
    found = write_report(tiny.root / "sigma_Z2.zarr", tmp_path / "r.html")
    assert (found.frames, found.looked_at, found.shown) == (0, 0, ())
    assert "No frame can be shown." in Page(tmp_path / "r.html").text


@pytest.mark.parametrize("out", ["report.pdf", "s3://bucket/report.html"])
def test_a_name_that_is_none_of_a_page_is_refused(cache: str, out: str) -> None:
    with pytest.raises(ParameterError, match=r"out: expected a file that ends in \.html, got"):
        write_report(cache, out)
    with pytest.raises(ParameterError, match="frames: expected a whole number from 1, got 0"):
        write_report(cache, "report.html", frames=0)


def test_a_write_that_fails_leaves_the_old_report_and_no_other_file(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "r.html").write_text("old")

    def full(path: Path, data: bytes) -> int:
        with open(path, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(cache, tmp_path / "r.html")
    assert [path.name for path in tmp_path.glob("r.html*")] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "old"


def test_the_command_says_what_it_found_and_where_it_is(cache: str, tmp_path: Path) -> None:
    out = str(tmp_path / "r.html")
    done = CliRunner().invoke(main, ["report", cache, "-o", out, "--frames", "4"])
    assert done.exit_code == 0, done.output
    size = os.path.getsize(out)
    assert f"{cache}: 4 of 8 frames read, 4 of 4 checks hold\n" in done.stdout
    assert done.stdout.endswith(f"{out}, {size / 1000:.1f} kB  (open it in a browser; it needs no network)\n")
    as_json = CliRunner().invoke(main, ["report", cache, "-o", out, "--json"])
    facts = json.loads(as_json.stdout)
    assert (facts["path"], facts["looked_at"], facts["checks"][0]["state"]) == (out, 8, "holds")
    wrong = CliRunner().invoke(main, ["report", str(tmp_path / "none"), "-o", out])
    assert wrong.exit_code == 1
    assert "no cache is there" in wrong.stderr


@pytest.mark.slow
def test_the_report_of_the_sample_is_small_and_all_of_its_checks_hold(tmp_path: Path) -> None:
    write_sample(tmp_path / "hospital", frames=4)
    run(open_source("hospital-sample", tmp_path / "hospital"))
    found = write_report(tmp_path / "hospital/sigma_Z2.zarr", tmp_path / "r.html")
    assert found.bytes < 3e6 / 2
    assert {check.state for check in found.checks} == {"holds"}
    assert len(found.shown) >= 4
