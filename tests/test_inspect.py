"""`precompute inspect` and its Python door: what is printed, and what happens with data that cannot be read."""

import json
import logging
import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_data import TinyData, make_depth

from depthvar.datasets import Frame, Source, SourceError, open_source
from depthvar.datasets.errors import ParameterError
from depthvar.precompute import inspect, run
from depthvar.precompute.cli.main import main
from depthvar.precompute.inspection.inspect import check
from depthvar.precompute.inspection.look import Look, Rule
from depthvar.precompute.inspection.sheet import STATES, sheet
from depthvar.precompute.inspection.text import short_text
from depthvar.precompute.pictures.choose import spread
from depthvar.precompute.pictures.image import Colour

DATA = Path(__file__).parent / "data"
TOML = """summary = "Redwood"
names = ["redwood"]
[files]
depth = "depth/{frame}.png"
image = "color/{frame}.png"
[depth]
units_per_metre = 1000.0
UNKNOWN
[intrinsics]
constant = [525.0, 525.0, 319.5, 239.5]
"""


@pytest.fixture
def redwood(tmp_path: Path) -> Path:
    """A description next to two real frames; their images are grey."""
    shutil.copytree(DATA / "redwood_rgbd/depth", tmp_path / "depth")
    (tmp_path / "color").mkdir()
    for path in (tmp_path / "depth").glob("*.png"):
        Image.new("RGB", (640, 480), (90, 90, 90)).save(tmp_path / "color" / path.name)
    (tmp_path / "redwood.toml").write_text(TOML.replace("UNKNOWN\n", ""))
    return tmp_path


def command(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_is_printed_of_real_frames(redwood: Path) -> None:
    lines = command("--dataset", redwood / "redwood.toml").splitlines()
    assert lines[:6] == [
        f"redwood: 2 frames in 1 sequence, 2 looked at  ({redwood})",
        "size         640×480 (width × height), images 640×480 (width × height)",
        "depth        0.955 to 2.7 m, median 1.86",
        "pixels       87.1 % valid, 12.9 % unknown, 0.0 % far",
        "view         63° × 49° (horizontal × vertical); a pixel at the median depth is 3.54 mm wide",
        "step         1 mm by the description, 1 mm seen",
    ]
    assert any(line.startswith("ok           distance: ") for line in lines)
    assert any(line.startswith("cannot tell  image: the depth is sparse") or "image" in line for line in lines)
    assert lines[-2:] == ["nothing looks wrong", "a picture of these frames: the same command with -o look.png"]


def test_the_picture_has_a_row_for_each_frame(redwood: Path) -> None:
    picture = redwood / "look.png"
    assert f"picture: {picture}" in command("--dataset", redwood / "redwood.toml", "-o", picture)
    found = inspect(open_source(redwood / "redwood.toml"))
    drawn = sheet(found.looks)
    with Image.open(picture) as stored:
        assert stored.tobytes() == found.picture().tobytes()
        image, depth, states = (np.asarray(stored.crop(drawn.box(1, column))) for column in range(3))
    assert image.shape == depth.shape == states.shape == (240, 320, 3)
    assert (image == 90).all()
    assert len(np.unique(depth.reshape(-1, 3), axis=0)) > 100
    kinds = np.unique(states.reshape(-1, 3), axis=0).tolist()
    assert list(STATES["valid"]) in kinds
    assert list(STATES["unknown"]) in kinds


@pytest.mark.parametrize("name", ["look.jpg", "s3://bucket/look.png", ""])
def test_a_picture_is_a_png_file(redwood: Path, name: str) -> None:
    result = CliRunner().invoke(main, ["inspect", "--dataset", str(redwood / "redwood.toml"), "-o", name])
    assert result.exit_code == 2
    assert "--out: expected" in result.output


def test_json_is_one_object_with_every_verdict(redwood: Path) -> None:
    facts = json.loads(command("--dataset", redwood / "redwood.toml", "--json"))
    assert facts["frames"] == len(facts["looked_at"]) == 2
    assert facts["sizes"] == [[480, 640]]
    assert facts["step"] == facts["observed_step"] == 0.001
    assert facts["valid_share"] + facts["unknown_share"] + facts["far_share"] == pytest.approx(1)
    assert facts["picture"] is None
    assert {each["state"] for each in facts["verdicts"]} <= {"ok", "untold"}
    assert set(facts) == {*inspect(open_source(redwood / "redwood.toml")).to_json(), "picture"}


def test_mistakes_in_a_description_are_warnings_that_say_what_to_type(redwood: Path) -> None:
    toml = redwood / "redwood.toml"
    toml.write_text(TOML.replace("UNKNOWN", 'kind = "ray"').replace("1000.0", "1.0"))
    lines = command("--dataset", toml).splitlines()
    warnings = [line for line in lines if line.startswith("WARNING")]
    assert len(warnings) == 2
    assert warnings[0].startswith("WARNING      distance: read as the distance along the ray, but ")
    assert warnings[0].endswith('planes only if it is depth along the optical axis: set [depth] kind = "z"')
    assert warnings[1].startswith("WARNING      unit: depth from ")
    assert warnings[1].endswith("set [depth] units_per_metre = 1000 (--units-per-metre)")
    assert "2 warnings" in lines
    assert len([*inspect(open_source(toml)).warnings]) == 2


def test_holes_that_a_description_does_not_declare(redwood: Path) -> None:
    for path in (redwood / "depth").glob("*.png"):
        stored = np.array(Image.open(path))
        stored[stored == 0] = 65535
        Image.fromarray(stored).save(path)
    assert inspect(open_source(redwood / "redwood.toml")).warnings == ()  # the default of uint16
    (redwood / "redwood.toml").write_text(TOML.replace("UNKNOWN", "unknown = [0]"))
    (warning,) = inspect(open_source(redwood / "redwood.toml")).warnings
    assert (
        "the largest depth is repeated: 65.535 m (stored 65535) in 13.0 % of depth/00000.png (in all 2 frames)"
        in warning
    )
    assert "if these are holes, set [depth] unknown = [0, 65535]; if they are sky, far = [65535]" in warning


def test_an_image_that_is_not_there_is_said(redwood: Path) -> None:
    shutil.rmtree(redwood / "color")
    text = str(inspect(open_source(redwood / "redwood.toml")))
    assert f"cannot tell  image: no image can be read at {redwood}/color/00000.png" in text
    assert "no images" in text


def test_frames_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    data = TinyData(tmp_path)
    for frame in "012":
        data.write("a", frame, make_depth(48, 64, int(frame)))
    (tmp_path / "a/depth/1.npy").write_bytes(b"\x93NUMPY")
    found = inspect(data.source())
    assert found.looked_at == ("a/depth/0.npy", "a/depth/2.npy")
    ((key, message),) = found.unreadable
    assert key == "a/depth/1.npy"
    assert f"cannot be read: a/depth/1.npy: {message}" in str(found)
    for frame in "02":
        (tmp_path / f"a/depth/{frame}.npy").write_bytes(b"")
    with pytest.raises(SourceError, match=r"none of the 3 frames looked at can be read; a/depth/0.npy: .*empty"):
        inspect(data.source())
    result = CliRunner().invoke(main, ["inspect", "--dataset", str(data.toml)])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: none of the 3 frames")


@pytest.mark.parametrize("frames", [0, 1.5, True, "8"])
def test_frames_is_a_whole_number(redwood: Path, frames: object) -> None:
    with pytest.raises(ParameterError, match="frames: expected a whole number from 1"):
        inspect(open_source(redwood / "redwood.toml"), frames)  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 20))
def test_frames_are_spread_over_sequences(lengths: list[int], count: int) -> None:
    sequences = [[f"{place:02}/{frame}" for frame in range(length)] for place, length in enumerate(lengths)]
    keys = spread(sequences, count)
    assert len(keys) == len(set(keys)) == min(count, sum(lengths))
    assert len({key[:2] for key in keys}) == min(count, len(lengths))
    assert keys == sorted(keys)


class Arrays(Source):
    """Frames in memory."""

    name = "arrays"

    def __init__(self, depths: dict[str, np.ndarray]) -> None:
        self.depths = depths

    def keys(self) -> list[str]:
        return sorted(self.depths)

    def read(self, key: str) -> Frame:
        return Frame(key, self.depths[key], intrinsics=np.array([80.0, 80, 31.5, 23.5]))


def test_a_source_of_the_users_own_has_no_stored_numbers() -> None:
    found = inspect(Arrays({f"a/{i}": make_depth(48, 64, i) for i in range(3)}))
    assert "1 warning" in str(found)  # its slopes are planes in depth, which planes never are
    assert "disparity or inverse depth: convert it in your Source.read" in str(found)
    assert "cannot tell  code: a class of your own reads the frames: its stored numbers were not seen" in str(found)
    assert found.step is None
    assert found.far_share == pytest.approx(8 / 48)


def test_a_constant_map_of_a_users_own(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    source = Arrays({"a/0": np.ones((48, 64), np.float32)})
    (warning,) = inspect(source).warnings
    assert warning.startswith("constant map: every pixel is 1 in the frame (a/0): a placeholder, not a depth")
    with caplog.at_level(logging.INFO, "depthvar"):
        run(source, tmp_path / "out.zarr", threads=1)
    (record,) = [each for each in caplog.records if each.message.startswith("looked at")]
    assert record.levelname == "WARNING"
    assert record.message.startswith("looked at 1 frame: constant map: every pixel is 1")


def test_a_run_says_in_one_line_what_it_looked_at_and_only_if_there_is_work(redwood: Path) -> None:
    arguments = ["run", "--dataset", str(redwood / "redwood.toml"), "--threads", "1", "--json"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["computed"] == 2
    line = "looked at 2 frames: 640×480 (width × height), depth 0.955 to 2.7 m, median 1.86: nothing looks wrong"
    assert first.stderr.splitlines().count(line) == 1
    assert first.stderr.index(line) < first.stderr.index("frames done")
    again = CliRunner().invoke(main, arguments)
    assert json.loads(again.stdout)["unchanged"] == 2
    assert "looked at" not in again.stderr


def test_a_run_does_not_stop_because_of_the_look(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Faulty(Arrays):
        """Its image path is a fault of the class, which a run does not need."""

        def image_path(self, key: str) -> str:
            raise ZeroDivisionError("no image")

    source = Faulty({"a/0": make_depth(48, 64, 0)})
    with caplog.at_level(logging.INFO, "depthvar"):
        assert run(source, tmp_path / "out.zarr", threads=1).computed == 1
    assert "no look at the first frames (ZeroDivisionError: no image)" in caplog.messages


def test_data_at_a_url(redwood: Path) -> None:
    store = fsspec.filesystem("memory")
    for path in redwood.rglob("*.png"):
        store.pipe(f"/inspect/{path.relative_to(redwood)}", path.read_bytes())
    facts = inspect(open_source(redwood / "redwood.toml", "memory://inspect")).to_json()
    local = inspect(open_source(redwood / "redwood.toml")).to_json()
    assert facts | {"root": ""} == local | {"root": ""}
    assert facts["image_sizes"] == ((480, 640),)


@settings(max_examples=80)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 90)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["noise", "constant", "two values", "unknown", "far", "slope"]),
    st.sampled_from([np.float32, np.uint16]),
    st.sampled_from(["z", "ray", "disparity", "inverse"]),
)
def test_no_depth_is_too_strange_for_the_checks(
    size: tuple[int, int], seed: int, content: str, dtype: type, kind: str
) -> None:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    depth = {
        "noise": random.uniform(1e-12, 10 ** random.uniform(-10, 14), size),
        "constant": np.full(size, 10 ** random.uniform(-11, 14)),
        "two values": np.where(columns > size[1] // 2, 1e-11, 1e14),
        "unknown": np.zeros(size),
        "far": np.full(size, np.inf),
        "slope": 1.0 + rows + columns,
    }[content].astype(np.float32)
    depth[random.random(size) < random.choice([0, 0.1, 0.9])] = 0
    look = Look(
        key="a",
        size=size,
        camera=np.array([50.0, 50, size[1] / 2, size[0] / 2]),
        stride=1,
        depth=depth,
        valid=(depth > 0) & np.isfinite(depth),
        far=np.isinf(depth),
        stored=np.clip(np.nan_to_num(depth), 0, 65535).astype(dtype),
        colour=Colour(random.integers(0, 255, (*size, 3), np.uint8), size),
        image_path="a",
    )
    verdicts = check([look] * int(random.integers(1, 5)), Rule(kind=kind, units_per_metre=1.0))
    assert len(verdicts) >= 3
    assert all("\n" not in each.text and "nan" not in each.text for each in verdicts)
    drawn = sheet([look])
    left, top, right, bottom = drawn.box(0, 2)
    width, height = drawn.draw().size
    assert 0 < left < right < width
    assert 0 < top < bottom < height


def test_more_than_one_warning_is_one_line() -> None:
    verdicts = [{"check": name, "state": "warning", "text": "wrong"} for name in ("unit", "sky", "image")]
    facts = {"verdicts": verdicts, "looked_at": ("a", "b")}
    assert short_text(facts) == (
        "looked at 2 frames: unit: wrong; and 2 more warnings (all: `precompute inspect`, same options)"
    )
