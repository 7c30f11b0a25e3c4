"""``precompute preview``: colours are those of the values, ranges and frames those asked for, files whole or absent."""

import json
import logging
import os
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_data import TinyData, make_depth

from depthvar.datasets import Frame, SigmaCache, Source
from depthvar.datasets.errors import CacheError, ParameterError, SourceError
from depthvar.datasets.params import KernelParams
from depthvar.precompute import preview, run
from depthvar.precompute.cli.main import main
from depthvar.precompute.pictures import inline
from depthvar.precompute.pictures.colour import FAR, UNKNOWN, Scale, ticks
from depthvar.precompute.pictures.preview import Preview, Style, draw
from depthvar.precompute.pictures.sheet import Column, Row, Sheet
from depthvar.precompute.pictures.viewed import Viewed, of_cache, of_source
from depthvar.precompute.pictures.weights import weight_map
from depthvar.precompute.pictures.write import write_png

HEIGHT, WIDTH = 24, 32  # enlarged ten times by the usual tile
LOG = logging.getLogger("depthvar")


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    handlers, propagate, level = LOG.handlers, LOG.propagate, LOG.level
    yield
    LOG.handlers, LOG.propagate = handlers, propagate
    LOG.setLevel(level)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """Two sequences of three and two frames, with a cache that holds no depth, and one that does."""
    tiny = TinyData(tmp_path_factory.mktemp("tiny"))
    for sequence, count in (("a", 3), ("b", 2)):
        for number in range(count):
            tiny.write(sequence, f"{number:03}", make_depth(HEIGHT, WIDTH, seed=number))
    run(tiny.source(), tiny.root / "sigma.zarr", strides=(1, 2), threads=1)
    run(tiny.source(), tiny.root / "with_depth.zarr", strides=(1,), with_depth=True, threads=1)
    return tiny


def viewed(tiny: TinyData, cache: str = "sigma.zarr") -> Viewed:
    return of_cache(SigmaCache(tiny.root / cache))


def drawn(
    view: Viewed, keys: Sequence[str], stride: int = 1, weight: str = "auto", style: Style | None = None
) -> Preview:
    return draw(view, [view.show(key, stride) for key in keys], weight, style)  # type: ignore[arg-type]


def tile(sheet: Sheet, row: int, title: str) -> np.ndarray:
    """The picture of a quantity in a row, as an array."""
    (column,) = (place for place, each in enumerate(sheet.columns) if each.title.startswith(title))
    return np.asarray(sheet.draw().crop(sheet.box(row, column)))


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["preview", *map(str, arguments)], catch_exceptions=False)


def test_each_pixel_has_the_colour_of_its_value(tiny: TinyData) -> None:
    view = viewed(tiny)
    keys = ["a/depth/001.npy", "b/depth/000.npy"]
    found = drawn(view, keys)
    for row, key in enumerate(keys):
        frame = view.show(key, 1)
        maps = {"depth": frame.depth, "sigma": frame.sigma, "weight": weight_map(frame.depth, frame.sigma, "focus")}
        for name, values in maps.items():
            expected = found.scales[name].colours(values)
            expected[~np.isfinite(frame.sigma)], expected[frame.far] = UNKNOWN, FAR
            np.testing.assert_array_equal(tile(found.sheet, row, name)[5::10, 5::10], expected)
            np.testing.assert_array_equal(tile(found.sheet, row, name)[::10, 9::10], expected)
    assert {"unknown", "far"} == set(found.sheet.legend)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([64, 160, 320]), st.integers(0, 99))
def test_a_tile_lies_in_the_sheet_and_has_the_colours_of_the_map(height: int, width: int, size: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    sheet = Sheet([Column("a"), Column("b", Scale(1, 10))], [Row("x", (height, width), [None, pixels])], {}, size)
    whole = sheet.draw()
    left, top, right, bottom = sheet.box(0, 1)
    assert 0 < left < right <= whole.width
    assert 0 < top < bottom <= whole.height
    part = np.asarray(whole.crop(sheet.box(0, 1))).astype(float)
    if (bottom - top) % height == 0 and (right - left) % width == 0:  # enlarged a whole number of times
        rows, columns = (bottom - top) // height, (right - left) // width
        np.testing.assert_array_equal(part, pixels.repeat(rows, 0).repeat(columns, 1))
    assert part.min() >= pixels.min()
    assert part.max() <= pixels.max()


def test_a_reduced_tile_has_the_mean_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    sheet = Sheet([Column("a")], [Row("x", (480, 640), [pixels])], {})
    part = np.asarray(sheet.draw().crop(sheet.box(0, 0))).astype(float)
    np.testing.assert_allclose(part, pixels.reshape(240, 2, 320, 2, 3).mean((1, 3)), atol=1)


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e9), st.booleans(), st.integers(4, 12))
def test_ticks_are_few_round_numbers_within_the_limits(low: float, ratio: float, is_log: bool, most: int) -> None:
    scale = Scale(low, low * ratio, is_log)
    found = ticks(scale, most)
    assert 2 <= len(found) <= most
    assert found == sorted(set(found))
    assert all(0 <= part <= 1 for part in np.round(scale.parts(np.array(found)), 9))
    assert len({f"{number:.6g}" for number in found}) == len(found)


def test_a_colour_bar_goes_through_all_colours_of_its_scale() -> None:
    scale = Scale(0.1, 10, table="magma")
    sheet = Sheet([Column("depth (m)", scale)], [Row("x", (24, 32), [None])], {})
    colours = {tuple(colour) for colour in scale.colours(np.geomspace(0.1, 10, 4096)).tolist()}
    assert colours <= {tuple(pixel) for pixel in np.asarray(sheet.draw()).reshape(-1, 3).tolist()}


def test_a_range_holds_for_every_frame_and_is_else_that_of_all(tiny: TinyData) -> None:
    view = viewed(tiny)
    keys = view.choose(5)
    given = drawn(view, keys, style=Style({"depth": "magma"}, {"depth": (1, 4)}, ("depth",)))
    assert given.scales["depth"] == Scale(1, 4, False, "magma")
    assert given.scales["sigma"] == drawn(view, keys).scales["sigma"]
    known = np.concatenate([frame.depth[frame.valid] for frame in (view.show(key, 1) for key in keys)])
    low, high = np.quantile(known, [0.01, 0.99])
    assert drawn(view, keys).scales["depth"][:2] == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("frames", "sequence", "expected"),
    [
        (2, None, ["a/depth/001.npy", "b/depth/001.npy"]),
        (99, "b", ["b/depth/000.npy", "b/depth/001.npy"]),
        ([0, 4], None, ["a/depth/000.npy", "b/depth/001.npy"]),
        (["1", "b/depth/000.npy"], None, ["a/depth/001.npy", "b/depth/000.npy"]),
        ([0], "b", ["b/depth/000.npy"]),
    ],
)
def test_frames_are_those_asked_for(
    tiny: TinyData, frames: int | list[str | int], sequence: str | None, expected: list[str]
) -> None:
    for view in (viewed(tiny), of_source(tiny.source(), KernelParams())):
        assert view.choose(frames, sequence) == expected
    assert viewed(tiny).choose([str(tiny.root / "b/depth/001.npy")]) == ["b/depth/001.npy"]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_source_without_a_cache_gives_the_picture_of_the_cache(tiny: TinyData, stride: int) -> None:
    """σ² of a cache is rounded to 8 bits, so colours differ by one place."""
    cached, fresh = viewed(tiny), of_source(tiny.source(), KernelParams())
    keys = cached.choose(3)
    style = Style(ranges={"sigma": (1e-3, 10), "weight": (0.1, 10)})
    both = [drawn(view, keys, stride, style=style).sheet for view in (cached, fresh)]
    for row in range(3):
        np.testing.assert_array_equal(*(tile(sheet, row, "depth") for sheet in both))
        for name in ("sigma", "weight"):
            one, other = (tile(sheet, row, name).astype(int) for sheet in both)
            assert np.abs(one - other).max() <= 8
    assert preview(tiny.root / "sigma.zarr", 3, stride=stride).size == preview(tiny.source(), 3, stride=stride).size


def test_depth_is_found_next_to_the_cache_then_in_it_then_not_at_all(
    tiny: TinyData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = "a/depth/002.npy"
    here = viewed(tiny, "with_depth.zarr").show(key, 1)
    assert not caplog.messages
    for name in ("sigma.zarr", "with_depth.zarr"):
        shutil.copytree(tiny.root / name, tmp_path / name)
    caplog.set_level(logging.INFO, "depthvar")
    stored = of_cache(SigmaCache(tmp_path / "with_depth.zarr"))
    assert caplog.messages[-1].startswith("no depth files where the cache is: depth of the cache, no images")
    for name in ("depth", "valid", "far", "sigma_z2", "camera"):
        np.testing.assert_array_equal(getattr(stored.show(key, 1), name), getattr(here, name))
    bare = of_cache(SigmaCache(tmp_path / "sigma.zarr"))
    assert caplog.messages[-1].startswith("σ only: the depth files are not where the cache is: pass the folder")
    np.testing.assert_array_equal(bare.show(key, 1).sigma, here.sigma)
    assert list(drawn(bare, [key]).scales) == ["sigma"]
    assert list(drawn(bare, [key]).sheet.legend) == ["unknown or far"]
    weighted = drawn(bare, [key], weight="inverse_sigma")
    assert weighted.scales["weight"] == drawn(stored, [key], weight="inverse_sigma").scales["weight"]
    with pytest.raises(ParameterError, match=r"weight: expected one that needs no depth .* got 'focus'"):
        drawn(bare, [key], weight="focus")
    assert of_cache(SigmaCache(tmp_path / "sigma.zarr"), tiny.root).has_depth
    with pytest.raises(CacheError, match=r"no frame of the cache is there: expected files such as a/depth/000\.npy"):
        of_cache(SigmaCache(tiny.root / "sigma.zarr"), tmp_path)
    with pytest.raises(CacheError, match="holds no depth"):
        SigmaCache(tmp_path / "sigma.zarr").depth(key)


def test_damaged_depth_of_a_cache_is_an_error(tiny: TinyData, tmp_path: Path) -> None:
    shutil.copytree(tiny.root / "with_depth.zarr", tmp_path / "with_depth.zarr")
    (tmp_path / "with_depth.zarr/a/depth/c.0.0.0").unlink()
    cache = SigmaCache(tmp_path / "with_depth.zarr")
    assert np.isfinite(cache.read("a/depth/000.npy")).any()
    with pytest.raises(CacheError, match=r"a/depth/000\.npy, depth: damaged"):
        cache.depth("a/depth/000.npy")


class Rooms(Source):
    """Frames of a class, in sequences that their keys do not name; one has an image."""

    name = "rooms / of mine"

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def keys(self) -> list[str]:
        return ["0", "1", "7"]

    def read(self, key: str) -> Frame:
        return Frame(key, make_depth(9, 12, int(key)), [10, 10, 5.5, 4])

    def sequence(self, key: str) -> str:
        return "odd" if int(key) % 2 else "even"

    def image_path(self, key: str) -> str | None:
        return str(self.folder / "image.png") if self.folder and key == "1" else None


def test_a_class_is_shown_with_and_without_a_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(Rooms(), tmp_path / "rooms.zarr", strides=(1,), threads=1)
    fresh = of_source(Rooms(), KernelParams())
    assert fresh.choose(["7", 0], "odd") == ["7", "1"]  # a key, and a number: of the frames of this sequence
    assert of_cache(SigmaCache(tmp_path / "rooms.zarr"), Rooms()).choose(9, "odd") == ["1", "7"]
    assert not of_cache(SigmaCache(tmp_path / "rooms.zarr")).has_depth
    assert "σ only" in caplog.messages[-1]
    with pytest.raises(CacheError, match="computed by a Source class, got a folder"):
        of_cache(SigmaCache(tmp_path / "rooms.zarr"), tmp_path)


def test_a_frame_of_another_size_than_in_the_cache_is_an_error(tmp_path: Path) -> None:
    class Grown(Rooms):
        def read(self, key: str) -> Frame:
            return Frame(key, make_depth(10, 12, int(key)), [10, 10, 5.5, 4])

    run(Rooms(), tmp_path / "rooms.zarr", strides=(1,), threads=1)
    with pytest.raises(SourceError, match="expected 9×12 pixels as in the cache, got 10×12; run `precompute run`"):
        of_cache(SigmaCache(tmp_path / "rooms.zarr"), Grown()).show("0", 1)


def test_the_relief_stands_in_for_an_image_that_is_not_there(tmp_path: Path) -> None:
    Image.new("RGB", (12, 9), (1, 2, 3)).save(tmp_path / "image.png")
    with_image = drawn(of_source(Rooms(tmp_path), KernelParams()), ["0", "1"]).sheet
    assert (tile(with_image, 1, "image") == (1, 2, 3)).all()
    relief = tile(with_image, 0, "image")
    assert relief.min() < 50 < 250 < relief.max()
    assert np.ptp(relief.astype(int), axis=-1).max() == 0  # grey
    assert drawn(of_source(Rooms(), KernelParams()), ["0"]).sheet.columns[0].title == "relief of the depth"


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (640, 480), (4, 3)])
@pytest.mark.parametrize("content", ["slope", "unknown", "far"])
def test_frames_of_every_size_and_content_are_drawn(size: tuple[int, int], content: str) -> None:
    class One(Source):
        name = "one"

        def keys(self) -> list[str]:
            return ["é\n" * 500]

        def read(self, key: str) -> Frame:
            depth = {"slope": 1 + np.indices(size).sum(0), "unknown": np.zeros(size), "far": np.full(size, np.inf)}
            return Frame(
                key, depth[content].astype(np.float32), [max(size), max(size), (size[1] - 1) / 2, (size[0] - 1) / 2]
            )

    picture = preview(One(), 1)
    assert 200 < picture.width < 4000
    assert 50 < picture.height < 1000


def test_the_command_writes_what_the_function_draws(
    tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("STY", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-kitty")  # but the output is a pipe
    result = cli(tiny.root / "sigma.zarr", "--sequence", "a", "--stride", 2, "--range", "sigma=0.01,1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny: 3 frames, stride 2; colours: depth ")
    assert result.stdout.endswith("picture: tiny-preview.png\n")
    expected = preview(tiny.root / "sigma.zarr", sequence="a", stride=2, ranges={"sigma": (0.01, 1)})
    with Image.open("tiny-preview.png") as stored:
        assert stored.tobytes() == expected.tobytes()
    assert os.listdir() == ["tiny-preview.png"]
    options = ("--dataset", tiny.toml, "--window", 7, "--frame", 1, "--weight", "relative", "-o", "one.png", "--json")
    facts = json.loads(cli(*options).stdout)
    assert (facts["frames"], facts["picture"], facts["weight"]) == (["a/depth/001.npy"], "one.png", "relative")
    with Image.open("one.png") as stored:
        drawn_again = preview(tiny.source(), [1], params=KernelParams(window=7), weight="relative")
        assert stored.tobytes() == drawn_again.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frame", "none"], "frame: expected a number from 0 to 4, or a key such as 'a/depth/000.npy', got 'none'"),
        (["--frame", "5"], "frame: expected a number from 0 to 4"),
        (["--frame", "1", "--frames", "2"], "--frames: expected none with --frame, got 2"),
        (["--sequence", "c"], "sequence: expected one of 2, such as a, b; got 'c'"),
        (["--sequence", ""], "--sequence: expected a value, got an empty text"),
        (["--stride", "3"], "stride: expected one of (1, 2), got 3"),
        (["--range", "depth=2,1"], "range of depth: expected two numbers, low < high, above 0 where"),
        (["--range", "sigma=0,1"], "range of sigma: expected two numbers, low < high, above 0 where"),
        (["--range", "sigma=nan,1"], "range of sigma: expected two numbers"),
        (["--range", "sigma=1,2,3"], "range of sigma: expected two numbers"),
        (["--range", "sigma=a,b"], "--range: expected numbers with commas between, got 'a,b'"),
        (["--range", "1,2"], "--range: expected QUANTITY=VALUE"),
        (["--linear", "z"], "linear: expected one of depth, sigma, weight, got 'z'"),
        (["--colours", "depth=none such"], "colours of depth: expected a colour map of the library cmap"),
        (["--colours", "z=magma"], "colours: expected one of depth, sigma, weight, got 'z'"),
        (["--weight", "mine"], "weight: expected one of auto, focus,"),
        (["--tile", "1"], "tile: expected a whole number of pixels from 32 to 4096, got 1"),
        (["-o", "picture.gif"], "--out: expected a file that ends in .png or .rrd, got 'picture.gif'"),
        (["-o", "s3://bucket/picture.png"], "--out: expected a file that ends in .png or .rrd"),
        (["-o", "none/picture.png"], "--out: expected a file in a folder that is there"),
        (["--window", "7"], "--window: expected none with a cache, which has recorded it, got 7"),
        (["--dataset", "tiny"], "--dataset: expected none with a cache"),
        (["--estimator", "range"], "--estimator: expected none with a cache"),
        (["--inline", "kitty", "--json"], "--inline: expected none with --json"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(
    tiny: TinyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli(tiny.root / "sigma.zarr", *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {message}")
    assert not os.listdir()


def test_neither_cache_nor_data_set_is_an_error(tmp_path: Path) -> None:
    assert cli().stderr == "error: expected CACHE or --dataset, got neither\n"
    gone = cli(tmp_path / "none.zarr")
    assert (gone.exit_code, gone.stderr.count("\n")) == (1, 1)
    with pytest.raises(ParameterError, match="params: expected None for a cache"):
        preview(tmp_path / "none.zarr", params=KernelParams())
    with pytest.raises(ParameterError, match="source: expected None for a source"):
        preview(Rooms(), source=tmp_path)


def test_a_picture_that_cannot_be_written_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "picture.png"
    write_png(Image.new("RGB", (4, 4)), str(path))
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with open(self, "wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        write_png(Image.new("RGB", (8, 8)), str(path))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["picture.png"]


@given(st.binary(min_size=1, max_size=20_000), st.integers(1, 300))
def test_terminals_get_the_very_bytes(png: bytes, columns: int) -> None:
    commands = re.findall("\x1b_G(.*?);(.*?)\x1b\\\\", inline.kitty(png, columns))
    assert "".join(f"\x1b_G{head};{data}\x1b\\" for head, data in commands) == inline.kitty(png, columns)
    assert all(len(data) <= 4096 and (len(data) % 4 == 0) for _, data in commands)
    assert [head.endswith("m=1") for head, _ in commands] == [True] * (len(commands) - 1) + [False]
    assert commands[0][0].startswith(f"a=T,f=100,q=2,c={columns},")
    assert b64decode("".join(data for _, data in commands)) == png
    head, data = re.fullmatch("\x1b]1337;File=(.*?):(.*)\a", inline.iterm(png, columns)).groups()  # type: ignore[union-attr]
    assert set(head.split(";")) == {"inline=1", f"size={len(png)}", f"width={columns}", "preserveAspectRatio=1"}
    assert b64decode(data) == png
    for text in (inline.kitty(png, columns), inline.iterm(png, columns)):
        wrapped = re.findall("\x1bPtmux;((?:[^\x1b]|\x1b\x1b)*)\x1b\\\\", inline.through_tmux(text))
        assert "".join(each.replace("\x1b\x1b", "\x1b") for each in wrapped) == text


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"KONSOLE_VERSION": "230805"}, "kitty"),
        ({"KONSOLE_VERSION": "210805"}, None),
        ({"KONSOLE_VERSION": "new"}, None),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"LC_TERMINAL": "iTerm2", "TERM": "xterm-256color"}, "iterm"),
        ({"TERM_PROGRAM": "Apple_Terminal"}, None),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux", "LC_TERMINAL": "iTerm2"}, None),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux,1,0"}, None),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-kitty", "STY": "1.pts"}, None),
    ],
)
def test_a_terminal_that_is_not_known_gets_no_picture(environment: dict[str, str], protocol: str | None) -> None:
    assert inline.protocol_of(environment) == protocol


def on_terminal(tiny: TinyData, folder: Path, *options: object, **environment: str) -> str:
    """What the command writes to a terminal."""
    import pty
    import subprocess
    import sys

    command = [sys.executable, "-m", "depthvar.precompute.cli", "preview", tiny.root / "sigma.zarr", "--frames", 1]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    main_end, terminal = pty.openpty()
    with subprocess.Popen(
        [*map(str, command), *map(str, options)], cwd=folder, env=kept | environment, stdin=terminal, stdout=terminal,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(terminal)
        parts = []
        try:
            while part := os.read(main_end, 1 << 16):
                parts.append(part)
        except OSError:  # how Linux ends a terminal
            pass
        assert process.wait() == 0
    os.close(main_end)
    return b"".join(parts).decode()


def test_a_terminal_that_can_shows_the_picture_and_no_file_is_written(tiny: TinyData, tmp_path: Path) -> None:
    shown = on_terminal(tiny, tmp_path, TERM="xterm-kitty")
    data = b64decode("".join(re.findall("\x1b_G[^;]*;(.*?)\x1b\\\\", shown)))
    with Image.open(BytesIO(data)) as picture:
        assert picture.convert("RGB").tobytes() == preview(tiny.root / "sigma.zarr", 1).tobytes()
    assert shown.splitlines()[-1] == "picture: shown above (kitty)"
    assert not os.listdir(tmp_path)


def test_another_terminal_gets_text_only_and_a_file(tiny: TinyData, tmp_path: Path) -> None:
    shown = on_terminal(tiny, tmp_path, TERM="xterm-256color")
    assert "\x1b" not in shown
    assert os.listdir(tmp_path) == ["tiny-preview.png"]
