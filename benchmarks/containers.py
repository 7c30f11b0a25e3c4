"""Libraries that decode the formats of depth and masks: time, values, and what damage does to them. Prints JSON.

    python benchmarks/containers.py [--rounds 30] [--flips 40]

A Redwood frame of tests/data, 640×480, written in each format. Every way reads the file and returns its values, one way
after the other in an order that rotates; CPU time, medians. "header" is what planning reads of each frame. Damage: one
bit of the file is flipped, every second time in its first 400 bytes, and a process of its own reads it; "unnoticed" is
the share after which other values came without an error, "died" the number that ended the process by a signal, or by
the end of ten seconds. A library that is not installed is left out, and said so.

For pyfive: pip install pyfive
"""

import argparse
import importlib
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import OpenEXR
import scipy.io
import tifffile
from decode import FRAME, opencv, silence, timed
from machine import machine, versions
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.source.containers import CONTAINERS, Member, container_of, read_file

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # without it OpenCV refuses such files

PACKAGES = (
    "openexr", "h5py", "pyfive", "scipy", "tifffile", "imagecodecs", "opencv-python-headless", "pillow",
)  # fmt: skip
KEY = "depth"

Array = NDArray[Any]
Decode = Callable[[Path], Array]


def ours(path: Path) -> Array:
    """Read a file as a run does."""
    container = CONTAINERS[container_of(path)]
    member = Member()
    return read_file(path, lambda file, start, size: container.pixels(file, _header(path, file, start, size), member))


def _header(path: Path, *opened: Any) -> Any:
    return CONTAINERS[container_of(path)].header(*opened, Member())


def header(path: Path) -> tuple[int, ...]:
    shape: tuple[int, ...] = read_file(path, lambda *opened: _header(path, *opened)).shape
    return shape


def pillow(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def imagecodecs(path: Path) -> Array:
    codec = "tiff_decode" if path.suffix == ".tif" else "jpeg_decode"
    return np.asarray(getattr(importlib.import_module("imagecodecs"), codec)(path.read_bytes()))


def openexr(path: Path) -> Array:
    with OpenEXR.File(str(path), separate_channels=True) as image:
        return np.asarray(image.channels()["Z"].pixels)


def openexr_stream(path: Path) -> Array:
    with open(path, "rb") as file, OpenEXR.File(file, separate_channels=True) as image:
        return np.asarray(image.channels()["Z"].pixels)


def h5py_object(path: Path) -> Array:
    with open(path, "rb") as file, h5py.File(file, "r") as content:
        return np.asarray(content[KEY][()])


def pyfive(path: Path) -> Array:
    with importlib.import_module("pyfive").File(path) as content:
        return np.asarray(content[KEY][()])


def mat_73(path: Path) -> Array:
    with h5py.File(path, "r") as content:
        return np.asarray(content[KEY][()].T)


def loadmat(path: Path) -> Array:
    return np.asarray(scipy.io.loadmat(path, variable_names=[KEY], mat_dtype=True)[KEY])


def numpy_load(path: Path) -> Array:
    with np.load(path) as content:
        return np.asarray(content[KEY])


def numpy_fromfile(path: Path) -> Array:
    width, height = np.fromfile(path, "<i4", 2, offset=4)
    return np.fromfile(path, "<f4", offset=12).reshape(height, width)


EXR: dict[str, Decode] = {
    "ours": ours,
    "OpenEXR with threads": openexr,
    "OpenEXR by a stream": openexr_stream,
    "opencv": opencv,
}
HDF5: dict[str, Decode] = {"ours": ours, "h5py by a file object": h5py_object, "pyfive": pyfive}
TIFF: dict[str, Decode] = {
    "ours": ours, "tifffile": tifffile.imread, "imagecodecs": imagecodecs, "pillow": pillow, "opencv": opencv,
}  # fmt: skip
PLAIN: dict[str, Decode] = {"ours": ours, "pillow": pillow, "opencv": opencv}
NPZ: dict[str, Decode] = {"ours": ours, "numpy.load": numpy_load}


def files(folder: Path) -> dict[str, tuple[Path, Array, dict[str, Decode]]]:
    """Write the files; return path, values and ways of each."""
    with Image.open(FRAME) as image:
        depth = np.asarray(image).astype(np.uint16)
    metres = depth.astype(np.float32) / np.float32(1000)
    half = metres.astype(np.float16)

    def exr(name: str, values: Array, compression: Any) -> Path:
        made = {"compression": compression, "type": OpenEXR.scanlineimage}
        OpenEXR.File(made, {"Z": values}).write(str(folder / name))
        return folder / name

    def hdf5(name: str, values: Array, **options: Any) -> Path:
        with h5py.File(folder / name, "w") as file:
            file.create_dataset(KEY, data=values, **options)
        return folder / name

    def tiff(name: str, values: Array, **options: Any) -> Path:
        tifffile.imwrite(folder / name, values, **options)
        return folder / name

    def content(name: str, *parts: bytes) -> Path:
        (folder / name).write_bytes(b"".join(parts))
        return folder / name

    def mat(name: str, do_compression: bool) -> Path:
        scipy.io.savemat(folder / name, {KEY: metres}, do_compression=do_compression)
        return folder / name

    np.savez(folder / "plain.npz", depth=metres)
    np.savez_compressed(folder / "deflated.npz", depth=metres)
    Image.fromarray((depth > 0).astype(np.uint8) * 255).save(folder / "mask.jpg")
    narrow = np.minimum(depth, 10_000)
    gzip = {"chunks": (120, 160), "compression": "gzip"}
    return {
        "exr, half, ZIP": (exr("half.exr", half, OpenEXR.ZIP_COMPRESSION), half, EXR),
        "exr, float, ZIP": (exr("zip.exr", metres, OpenEXR.ZIP_COMPRESSION), metres, EXR),
        "exr, float, PIZ": (exr("piz.exr", metres, OpenEXR.PIZ_COMPRESSION), metres, EXR),
        "exr, float, plain": (exr("plain.exr", metres, OpenEXR.NO_COMPRESSION), metres, EXR),
        "hdf5, half, plain": (hdf5("half.h5", half), half, HDF5),
        "hdf5, float, gzip": (hdf5("gzip.h5", metres, **gzip), metres, HDF5),
        "mat 5, plain": (mat("plain.mat", False), metres, {"ours": ours, "scipy": loadmat}),
        "mat 5, deflated": (mat("deflated.mat", True), metres, {"ours": ours, "scipy": loadmat}),
        "mat 7.3, gzip": (hdf5("seven.mat", metres.T, **gzip), metres, {"ours": ours, "h5py by a path": mat_73}),
        "tiff, uint16, plain": (tiff("plain.tif", depth), depth, TIFF),
        "tiff, float, big-endian": (tiff("big.tif", metres, byteorder=">"), metres, TIFF),
        "tiff, float, LZW": (tiff("lzw.tif", metres, compression="lzw", predictor=True), metres, TIFF),
        "npz, plain": (folder / "plain.npz", metres, NPZ),
        "npz, deflated": (folder / "deflated.npz", metres, NPZ),
        "pfm": (content("a.pfm", b"Pf\n640 480\n-1.0\n", metres[::-1].tobytes()), metres, PLAIN),
        "pgm, 16 bit": (content("a.pgm", b"P5\n640 480\n10000\n", narrow.astype(">u2").tobytes()), narrow, PLAIN),
        "dpt": (
            content("a.dpt", b"PIEH", np.array([640, 480], "<i4").tobytes(), metres.tobytes()),
            metres,
            {"ours": ours, "numpy.fromfile": numpy_fromfile},
        ),
        "jpg, grey": (
            folder / "mask.jpg",
            pillow(folder / "mask.jpg"),
            {"ours": ours, "opencv": opencv, "imagecodecs": imagecodecs},
        ),
    }


def measured(path: Path, want: Array, ways: dict[str, Decode], rounds: int, flips: int) -> dict[str, Any]:
    """Return the figures of every way to read one file, or why there are none."""
    result: dict[str, Any] = {}
    for name, decode in ways.items():
        try:
            with silence():
                got = decode(path)
            result[name] = {"right": bool(np.array_equal(got, want) and got.dtype.kind == want.dtype.kind)}
        except Exception as error:  # not installed, or no such file
            result[name] = {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
    calls = {name: ways[name] for name in ways if "right" in result[name]} | {"header": header}
    for name, times in timed(path, calls, rounds).items():
        if name == "header":
            result[name] = {"ms": times["ms"]}
        else:
            result[name] |= times | damage(path, want, ways[name], flips)
    return result


def damage(path: Path, want: Array, decode: Decode, flips: int) -> dict[str, Any]:
    """Return what comes of files with one flipped bit: each is read in a process of its own."""
    data, draw, ends = path.read_bytes(), random.Random(0), []
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / path.name
        for turn in range(flips):
            changed = bytearray(data)
            changed[draw.randrange(400 if turn % 2 else len(data))] ^= 1 << draw.randrange(8)
            damaged.write_bytes(changed)
            if not (child := os.fork()):
                os._exit(_reads_other_values(damaged, want, decode))
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return {"unnoticed": ends.count(1) / flips if flips else None, "died": sum(end < 0 for end in ends)}


def _reads_other_values(path: Path, want: Array, decode: Decode) -> int:
    signal.alarm(10)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # what OpenEXR prints
    with silence():
        try:
            return int(not np.array_equal(decode(path), want))
        except Exception:  # noticed
            return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--flips", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(*each, options.rounds, options.flips) for name, each in files(Path(folder)).items()}
    used = {"machine": machine(), "decoders": versions(PACKAGES)}
    print(json.dumps({"benchmark": "containers", **used, **vars(options), "files": found}, indent=2))


if __name__ == "__main__":
    main()
