"""Frames in a Rerun file, read back by Rerun's own reader: every number is that of the frame, bit for bit."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rerun.chunk import RrdReader
from tiny_data import TinyData

from depthvar.datasets import DepthVarError, SourceError
from depthvar.precompute import KernelParams
from depthvar.precompute.cli.main import main
from depthvar.precompute.pictures.colour import FAR, UNKNOWN
from depthvar.precompute.pictures.frames import Shown, frame_of_source
from depthvar.precompute.pictures.image import Colour
from depthvar.precompute.pictures.rerun import write_rrd
from depthvar.precompute.pictures.weights import weight_map

Rows = dict[str, dict[int, dict[str, Any]]]


def read(path: Path) -> Rows:
    """Return what each entity holds at each step: values by component."""
    found: Rows = {}
    for chunk in RrdReader(str(path)).stream():
        table = chunk.to_record_batch()
        for row in table.to_pylist():
            if "frame" in row:
                values = {name: value[0] for name, value in row.items() if ":" in name and value}
                found.setdefault(chunk.entity_path, {}).setdefault(row["frame"], {}).update(values)
    return found


def pixels(values: dict[str, Any], archetype: str, dtype: type, *channels: int) -> np.ndarray:
    shape = values[f"{archetype}:format"]
    return np.frombuffer(bytes(values[f"{archetype}:buffer"]), dtype).reshape(
        shape["height"], shape["width"], *channels
    )


@pytest.fixture
def frames(tiny: TinyData) -> list[Shown]:
    """Three frames of one data set, with unknown and far pixels; one has an image of another size."""
    source = tiny.source()
    keys = source.keys()
    found = [frame_of_source(source, keys[index], KernelParams(), stride) for index, stride in enumerate((1, 1, 2))]
    image = Colour(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), (60, 80))
    found[0] = dataclasses.replace(found[0], image=image)
    assert any(frame.far.any() for frame in found)
    assert all((frame.depth == 0).any() for frame in found)
    return found


def test_every_number_comes_back(frames: list[Shown], tmp_path: Path) -> None:
    path = tmp_path / "frames.rrd"
    assert write_rrd(frames, path, "relative") == 3
    rows = read(path)
    for step, frame in enumerate(frames):
        weight = weight_map(frame.depth, frame.sigma, "relative")
        maps = {"camera/depth": frame.depth, "sigma": frame.sigma, "weight": weight}
        for name, expected in maps.items():
            values = rows[f"/{name}"][step]
            np.testing.assert_array_equal(pixels(values, "DepthImage", np.float32), expected)
            assert values["DepthImage:meter"] == 1
            low, high = values["DepthImage:depth_range"]
            assert 0 < low < high
        colours = pixels(rows["/sigma/colours"][step], "Image", np.uint8, 3)
        np.testing.assert_array_equal((colours == FAR).all(-1), frame.far)
        np.testing.assert_array_equal((colours == UNKNOWN).all(-1), ~np.isfinite(frame.sigma) & ~frame.far)
        assert rows["/key"][step]["TextDocument:text"] == frame.key


def test_the_camera_projects_pixels_as_the_kernel_does(frames: list[Shown], tmp_path: Path) -> None:
    write_rrd(frames, tmp_path / "frames.rrd")
    rows = read(tmp_path / "frames.rrd")
    for step, frame in enumerate(frames):
        camera = rows["/camera"][step]
        fx, fy, cx, cy = np.float32(frame.camera)
        columns = np.reshape(camera["Pinhole:image_from_camera"], (3, 3))
        np.testing.assert_array_equal(columns.T, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        assert camera["Pinhole:resolution"] == [frame.depth.shape[1], frame.depth.shape[0]]


def test_an_image_has_the_size_of_the_depth_and_is_not_left_over(frames: list[Shown], tmp_path: Path) -> None:
    write_rrd(frames, tmp_path / "frames.rrd")
    rows = read(tmp_path / "frames.rrd")["/camera/image"]
    image = frames[0].image
    assert image is not None
    small = Image.fromarray(image.pixels).resize((32, 24), Image.Resampling.BOX)
    np.testing.assert_array_equal(pixels(rows[0], "Image", np.uint8, 3), np.asarray(small))
    assert [name.partition(":")[0] for step in (1, 2) for name in rows[step]] == ["Clear", "Clear"]


def test_the_viewer_is_told_what_to_show(frames: list[Shown], tmp_path: Path) -> None:
    write_rrd(frames, tmp_path / "frames.rrd")
    assert len(RrdReader(str(tmp_path / "frames.rrd")).blueprints()) == 1


def test_what_fails_leaves_the_old_file(frames: list[Shown], tmp_path: Path) -> None:
    path = tmp_path / "frames.rrd"
    write_rrd(frames[:1], path)
    before = path.read_bytes()

    def broken() -> Iterator[Shown]:
        yield frames[1]
        raise SourceError("room/001: no such file")

    with pytest.raises(SourceError, match="room/001"):
        write_rrd(broken(), path)
    with pytest.raises(ValueError, match=r"frames.rrd: expected at least one frame, got none; nothing was written"):
        write_rrd([], path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(DepthVarError, match=r"nowhere/frames.rrd: cannot be written: .*No such file"):
        write_rrd(frames, tmp_path / "nowhere/frames.rrd")


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
import numpy as np
from depthvar.datasets import DepthVarError
from depthvar.precompute.pictures.frames import Shown
from depthvar.precompute.pictures.rerun import write_rrd
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
shape, rng = (240, 320), np.random.default_rng(0)
maps = rng.random(shape, np.float32) + 1, np.ones(shape, bool), rng.random(shape, np.float32)
frames = (Shown(str(index), 1, None, *maps, np.array([300, 300, 160, 120.0])) for index in range(3))
try:
    write_rrd(frames, sys.argv[1])
except DepthVarError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code, tmp_path / "full.rrd"], capture_output=True, text=True)
    assert f"{tmp_path / 'full.rrd'}: cannot be written: " in ran.stdout, ran.stderr
    assert not list(tmp_path.iterdir())


def test_without_rerun_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "depthvar.precompute.pictures.rerun")
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ImportError, match=r"needs rerun, which is not installed: pip install 'depthvar\[rerun\]'"):
        import depthvar.precompute.pictures.rerun  # noqa: F401


def test_preview_writes_a_rerun_file_by_its_suffix(tiny: TinyData, tmp_path: Path) -> None:
    path = tmp_path / "frames.rrd"
    options = ["preview", "--dataset", str(tiny.toml), "--frame", "0", "--stride", "2", "-o", str(path)]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"rerun {path}\n")
    rows, keys = read(path), tiny.source().keys()
    expected = frame_of_source(tiny.source(), keys[0], KernelParams(), 2)
    np.testing.assert_array_equal(pixels(rows["/camera/depth"][0], "DepthImage", np.float32), expected.depth)
    path.unlink()
    result = CliRunner().invoke(main, [*options, "--weight", "none"])
    assert (result.exit_code, path.exists()) == (2, False)
    assert "--weight: expected a form of the weight for a .rrd file" in result.stderr
