"""The lines of docs/viewers.md open a cache in each viewer, and show what is in it.

Those that need large packages have the mark ``viewers``: `make viewers` installs them and runs these tests.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import zarr
from not_installed import not_installed
from numpy.typing import NDArray
from pages import ROOT, blocks
from PIL import Image

from depthvar.datasets import SigmaCache, open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import run, validate

PAGE = (ROOT / "docs/viewers.md").read_text()
TRIED = "\n".join(line for line in PAGE.splitlines() if line.startswith("| "))
CHROMIUM = shutil.which("chromium") or ""
BROWSER = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample scene with a frame in each sequence, and its cache."""
    folder = tmp_path_factory.mktemp("viewers")
    write_sample(folder / "data/hospital-sample", frames=1)
    run(open_source("hospital-sample", folder / "data/hospital-sample"), cache_of(folder))
    return folder


@pytest.fixture
def here(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a new one with the sample scene, by a link."""
    (tmp_path / "data").symlink_to(sample / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cache_of(folder: Path) -> str:
    return str(folder / "data/hospital-sample/sigma_Z2.zarr")


def lines_for(heading: str, other: str = "") -> str:
    """Return the Python of a section of the page, with another address for the server."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    code = blocks(section.split("<!-- not run -->")[0], "python")
    return "\n".join(code).replace("127.0.0.1:8801", other)


def execute(heading: str, other: str = "") -> dict[str, object]:
    names: dict[str, object] = {}
    exec(compile(lines_for(heading, other), f"viewers.md: {heading}", "exec"), names)
    return names


def sigma_of(here: Path) -> NDArray[np.float32]:
    cache = SigmaCache(cache_of(here))
    return np.sqrt(cache.read(cache.keys()[0]))


def test_xarray_and_matplotlib(here: Path) -> None:
    names = execute("xarray and matplotlib")
    expected = sigma_of(here)
    shown = names["sigma"].values  # type: ignore[attr-defined]
    np.testing.assert_array_equal(shown, np.where(np.isfinite(expected), expected, np.nan))
    assert set(names["sequence"]) >= {"sigma_Z2", "sigma_Z2_s8", "key", "intrinsics"}  # type: ignore[call-overload]
    assert len(Image.open(here / "sigma.png").convert("RGB").getcolors(1 << 20)) > 100


def test_an_ome_view_is_a_valid_image_of_the_same_values(here: Path) -> None:
    from ome_zarr_models.v05 import Image as OmeImage

    execute("An OME-Zarr view")
    group = zarr.open_group(here / "P000.ome.zarr", mode="r")
    image = OmeImage.from_zarr(group)
    cache = SigmaCache(cache_of(here))
    (multiscale,) = image.attributes.ome.multiscales
    assert len(multiscale.datasets) == len(cache.strides)
    for dataset, stride in zip(multiscale.datasets, cache.strides, strict=True):
        array = group[dataset.path]
        assert isinstance(array, zarr.Array)
        np.testing.assert_array_equal(array[0], cache.read(cache.keys()[0], stride))
        assert dataset.coordinateTransformations[0].scale == [1, stride, stride]  # type: ignore[union-attr]


def test_the_cache_itself_would_be_no_valid_image(here: Path) -> None:
    """Why the attribute is not in the cache (decision 0020): xarray needs other dimensions than OME-Zarr."""
    import xarray
    from ome_zarr_models.v05 import Image as OmeImage

    execute("An OME-Zarr view")
    with pytest.raises(ValueError, match="conflicting sizes for dimension 'y'"):
        xarray.open_zarr(here / "P000.ome.zarr", consolidated=False, chunks=None)
    attributes = zarr.open_group(here / "P000.ome.zarr", mode="r").attrs.asdict()
    copy = shutil.copytree(Path(cache_of(here)) / "Easy/P000", here / "copy")
    group = zarr.open_group(copy, mode="r+")
    group.attrs.update(attributes)
    with pytest.raises(ValueError, match="does not match the dimension names"):
        OmeImage.from_zarr(group)


def test_a_view_changes_nothing_in_the_cache(here: Path) -> None:
    execute("An OME-Zarr view")
    assert validate(cache_of(here), here / "data/hospital-sample", full=True).findings == []


# ------------------------------------------------------------------------------------------------ make viewers


@pytest.fixture
def server(here: Path) -> Iterator[str]:
    """The address where the page's rclone serves the current folder, with its options."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (line,) = (line for line in blocks(PAGE, "sh") if line.startswith("rclone"))
    words = line.replace("127.0.0.1:8801", address).replace('"*"', "*").split()
    command = [str(Path(sys.executable).with_name("rclone")), *words[1:], "--copy-links"]
    command[command.index("data/hospital-sample")] = "."
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while "Server started" not in (line := process.stderr.readline()):
        assert process.poll() is None, line
    yield address
    process.terminate()
    process.wait()


@pytest.mark.viewers
@pytest.mark.parametrize("what", ["array", "view"])
def test_neuroglancer_shows_sigma(here: Path, server: str, what: str) -> None:
    if not CHROMIUM:
        not_installed("neuroglancer was not tried: it needs chromium")
    import neuroglancer
    from playwright.sync_api import sync_playwright

    assert version("neuroglancer") in TRIED
    execute("An OME-Zarr view")
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = execute("neuroglancer", f"{server}/data/hospital-sample")["viewer"]
    if what == "view":
        with viewer.txn() as state:  # type: ignore[attr-defined]
            state.layers["sigma_Z2"].source = f"zarr3://http://{server}/P000.ome.zarr/"
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(BROWSER))
        page = browser.new_page(viewport={"width": 800, "height": 600})
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(str(viewer))
        deadline = time.monotonic() + 60
        while (colours := colours_of(page.screenshot(), here)) < 1000:
            assert time.monotonic() < deadline, (colours, complaints)
        page.screenshot(path=here / "neuroglancer.png")
        keep(here / "neuroglancer.png")
        browser.close()
    assert not [text for text in complaints if "Error retrieving" in text]


def colours_of(png: bytes, folder: Path) -> int:
    (folder / "now.png").write_bytes(png)
    return len(Image.open(folder / "now.png").convert("RGB").getcolors(1 << 20))


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A screen without a monitor, with OpenGL."""
    if shutil.which("Xvfb") is None:
        not_installed("napari was not tried: it needs Xvfb (Debian: xvfb, libxcb-cursor0, libxkbcommon-x11-0)")
    readable, writable = os.pipe()
    command = ["Xvfb", "-displayfd", str(writable), "-screen", "0", "1280x900x24"]
    with subprocess.Popen(command, pass_fds=[writable], stderr=subprocess.DEVNULL) as process:
        monkeypatch.setenv("DISPLAY", f":{os.read(readable, 16).decode().strip()}")
        monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
        yield
        process.terminate()
    os.close(readable)
    os.close(writable)


@pytest.mark.viewers
@pytest.mark.usefixtures("display")
def test_napari_shows_sigma(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import napari

    assert version("napari") in TRIED
    monkeypatch.setattr(napari, "run", lambda: None)  # it would wait until the window is closed
    viewer = execute("napari")["viewer"]
    try:
        shown = np.asarray(viewer.layers[0].data[0])  # type: ignore[attr-defined]
        np.testing.assert_allclose(10**shown, sigma_of(here), rtol=1e-5)
        viewer.window.resize(800, 560)  # type: ignore[attr-defined]
        picture = viewer.screenshot(canvas_only=False, flash=False)  # type: ignore[attr-defined]
        Image.fromarray(picture).convert("RGB").save(here / "napari.png")
        assert colours_of((here / "napari.png").read_bytes(), here) > 100
        keep(here / "napari.png")
    finally:
        viewer.close()  # type: ignore[attr-defined]


@pytest.mark.viewers
def test_napari_opens_a_view_by_its_plugin(here: Path) -> None:
    from napari_ome_zarr import napari_get_reader

    assert ".".join(version("napari-ome-zarr").split(".")[:2]) in TRIED
    execute("An OME-Zarr view")
    ((levels, options, kind),) = napari_get_reader(str(here / "P000.ome.zarr"))(str(here / "P000.ome.zarr"))
    assert kind == "image"
    assert options["axis_labels"] == ("frame", "y", "x")
    assert len(levels) == len(SigmaCache(cache_of(here)).strides)
    np.testing.assert_array_equal(np.sqrt(np.asarray(levels[0][0])), sigma_of(here))


@pytest.mark.viewers
def test_fiftyone_has_the_pictures(here: Path) -> None:
    assert version("fiftyone") in TRIED
    samples = execute("FiftyOne")["samples"]
    assert len(samples) == 2  # type: ignore[arg-type]
    first = samples[0]  # type: ignore[index]
    assert Path(first.filepath).is_file()
    places = np.asarray(first["sigma"].get_map(), np.float64)
    expected = sigma_of(here)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(places == 0, ~finite)
    inside = finite & (expected > 1e-4) & (expected < 10)
    np.testing.assert_allclose(10 ** ((places[inside] - 1) / 254 * 5 - 4), expected[inside], rtol=0.05)


def keep(picture: Path) -> None:
    """With `make viewers` the screenshots become those of the page: 256 colours are enough."""
    Image.open(picture).convert("RGB").quantize(256).save(ROOT / "docs/images" / picture.name, optimize=True)
