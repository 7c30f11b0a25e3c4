"""Ways to decode depth files: time, values, and whether they notice damage. Prints JSON.

    python benchmarks/decode.py [--rounds 60] [--flips 200]

Files of 640×480: a Redwood frame of tests/data as 16-bit PNG, its mask as PNG of 1 and of 8 bits, its metres as float32
in an RGBA PNG, and as .npy. Every way reads the file and returns its values, one way after the other in an order that
rotates; CPU time, medians. Damage: one bit of the file's pixel data is flipped; "unnoticed" is the share of flips after
which a way returns other values without an error. "inflate" is the decompression of the 16-bit PNG alone, by several
implementations of zlib. A library that is not installed is left out, and said so.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
from machine import machine, versions
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.source.containers import CONTAINERS, Member, container_of, read_file

PACKAGES = ("pillow", "opencv-python-headless", "imagecodecs", "pyspng", "zlib-ng", "isal")
FRAME = sorted((Path(__file__).parents[1] / "tests/data/redwood_rgbd/depth").glob("*.png"))[0]

Array = NDArray[Any]
Decode = Callable[[Path], Array]


def ours(path: Path) -> Array:
    """Read a file as a run does."""
    container = CONTAINERS[container_of(path)]
    return read_file(
        path, lambda file, start, size: container.pixels(file, container.header(file, start, size, Member()), Member())
    )


def pillow(path: Path) -> Array:
    """Decode with Pillow as most loaders do: without a look at the checksums."""
    with Image.open(path) as image:
        if image.mode == "RGBA":
            return np.asarray(image)[..., [2, 1, 0, 3]]
        return np.asarray(image.convert("L") if image.mode == "1" else image)


def opencv(path: Path) -> Array:
    cv2 = importlib.import_module("cv2")
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("cv2.imdecode returned None")
    return np.asarray(values)


def imagecodecs(path: Path) -> Array:
    values = importlib.import_module("imagecodecs").png_decode(path.read_bytes())
    return np.asarray(values[..., [2, 1, 0, 3]] if values.ndim == 3 else values)


def pyspng(path: Path) -> Array:
    values = importlib.import_module("pyspng").load(path.read_bytes())
    return np.asarray(values[..., [2, 1, 0, 3]] if values.ndim == 3 and values.shape[2] == 4 else values.squeeze())


def by_hand(path: Path) -> Array:
    """Decode a PNG of whole bytes without interlacing by zlib-ng and Numba: a bound, no decoder to use."""
    data = path.read_bytes()
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    channels = {0: 1, 6: 4}[colour]
    if depth < 8 or data[28]:
        raise ValueError("not decoded by hand")
    stream = b"".join(data[begin:end] for begin, end in image_data(data))
    pixel = channels * depth // 8
    size = height * (1 + width * pixel)
    raw = importlib.import_module("zlib_ng.zlib_ng").decompress(stream, bufsize=size)
    rows = unfilter(np.frombuffer(raw, np.uint8).reshape(height, -1), pixel)
    if channels == 4:
        return rows.reshape(height, width, 4)[..., [2, 1, 0, 3]]
    return rows if depth == 8 else rows.view(">u2").astype("<u2")


@numba.njit(nogil=True)
def unfilter(raw: Array, pixel: int) -> Array:
    """Undo the five filters of PNG: (H, 1 + bytes of a row) to (H, bytes of a row), by the bytes of a pixel."""
    rows = np.empty((raw.shape[0], raw.shape[1] - 1), np.uint8)
    above = np.zeros(rows.shape[1], np.uint8)
    for y in range(rows.shape[0]):
        kind, given, row = raw[y, 0], raw[y, 1:], rows[y]
        if kind == 0:
            row[:] = given
        elif kind == 2:
            for x in range(row.size):
                row[x] = given[x] + above[x]
        else:
            for x in range(pixel):
                row[x] = given[x] + (0 if kind == 1 else above[x] >> 1 if kind == 3 else above[x])
            if kind == 1:
                for x in range(pixel, row.size):
                    row[x] = given[x] + row[x - pixel]
            elif kind == 3:
                for x in range(pixel, row.size):
                    row[x] = given[x] + ((np.int32(row[x - pixel]) + np.int32(above[x])) >> 1)
            else:
                for x in range(pixel, row.size):
                    a, b, c = np.int32(row[x - pixel]), np.int32(above[x]), np.int32(above[x - pixel])
                    to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - c - c)
                    row[x] = given[x] + (a if to_a <= to_b and to_a <= to_c else b if to_b <= to_c else c)
        above = row
    return rows


def numpy_load(path: Path) -> Array:
    return np.asarray(np.load(path))


def numpy_memmap(path: Path) -> Array:
    return np.array(np.load(path, mmap_mode="r"))


PNG: dict[str, Decode] = {
    "ours": ours, "pillow without checksums": pillow, "opencv": opencv, "imagecodecs": imagecodecs, "pyspng": pyspng,
    "by hand": by_hand,
}  # fmt: skip
NPY: dict[str, Decode] = {"ours": ours, "numpy.load": numpy_load, "numpy.load by memmap": numpy_memmap}


def files(folder: Path) -> dict[str, tuple[Path, Array, dict[str, Decode]]]:
    """Write the files; return path, values and ways of each."""
    with Image.open(FRAME) as image:
        depth = np.asarray(image).astype(np.uint16)
    mask, metres = (depth > 0).astype(np.uint8) * 255, depth.astype(np.float32) / np.float32(1000)
    bgra = metres.view(np.uint8).reshape(*depth.shape, 4)
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask > 0).save(folder / "bits.png")
    Image.fromarray(np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])).save(folder / "rgba.png")
    np.save(folder / "metres.npy", metres)
    return {
        "16-bit PNG": (FRAME, depth, PNG),
        "8-bit PNG, a mask": (folder / "mask.png", mask, PNG),
        "1-bit PNG, a mask": (folder / "bits.png", mask, PNG),
        "RGBA PNG, a float": (folder / "rgba.png", bgra, PNG),
        "npy, float32": (folder / "metres.npy", metres, NPY),
    }


def measured(path: Path, want: Array, ways: dict[str, Decode], rounds: int, flips: int) -> dict[str, Any]:
    """Return the figures of every way to read one file, or why there are none."""
    result: dict[str, Any] = {}
    for name, decode in ways.items():
        try:
            result[name] = {"right": bool(np.array_equal(decode(path), want))}
        except Exception as error:  # not installed, or no such PNG
            result[name] = {"not_measured": f"{type(error).__name__}: {error}".partition("\n")[0]}
    for name, times in timed(path, {name: ways[name] for name in ways if "right" in result[name]}, rounds).items():
        result[name] |= times
        if path.suffix == ".png":
            result[name]["unnoticed"] = unnoticed(path, want, ways[name], flips)
    return result


def timed(path: Path, calls: Mapping[str, Callable[[Path], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Return the CPU time of each call, in ms and relative to ours of the same round: medians after a first round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.process_time()
            calls[name](path)
            seconds[name].append(time.process_time() - began)
    found = {}
    for name in names:
        ratios = [mine / base for mine, base in zip(seconds[name][1:], seconds["ours"][1:], strict=True)]
        found[name] = {"ms": statistics.median(seconds[name][1:]) * 1e3, "times_ours": statistics.median(ratios)}
    return found


def unnoticed(path: Path, want: Array, decode: Decode, flips: int) -> float:
    """Return the share of flipped bits of the pixel data after which other values come without an error."""
    data, draw, wrong = path.read_bytes(), random.Random(0), 0
    places = [place for begin, end in image_data(data) for place in range(begin, end)]
    with tempfile.TemporaryDirectory() as folder, silence():
        damaged = Path(folder) / path.name
        for _ in range(flips):
            changed = bytearray(data)
            changed[draw.choice(places)] ^= 1 << draw.randrange(8)
            damaged.write_bytes(changed)
            try:
                wrong += not np.array_equal(decode(damaged), want)
            except Exception:  # noticed
                continue
    return wrong / flips


def image_data(data: bytes) -> list[tuple[int, int]]:
    """Return where the contents of the IDAT chunks of a PNG begin and end."""
    at, found = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"IDAT":
            found.append((at + 8, at + 8 + length))
        at += length + 12
    return found


def inflate(path: Path, rounds: int) -> dict[str, Any]:
    """Return the median milliseconds in which each implementation of zlib decompresses the pixels of a PNG."""
    data = path.read_bytes()
    stream = b"".join(data[begin:end] for begin, end in image_data(data))
    found: dict[str, Any] = {}
    for name in ("zlib", "zlib_ng.zlib_ng", "isal.isal_zlib"):
        seconds = []
        try:
            decompress = importlib.import_module(name).decompress
        except ImportError as error:
            found[name] = {"not_measured": str(error)}
            continue
        for _ in range(rounds):
            began = time.process_time()
            decompress(stream)
            seconds.append(time.process_time() - began)
        found[name] = {"ms": statistics.median(seconds) * 1e3}
    return found


@contextlib.contextmanager
def silence() -> Any:
    """Keep what C libraries print about damage off stderr."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--flips", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(*each, options.rounds, options.flips) for name, each in files(Path(folder)).items()}
    used = {"machine": machine(), "decoders": versions(PACKAGES)}
    report = {"benchmark": "decode", **used, **vars(options), "files": found}
    print(json.dumps(report | {"inflate": inflate(FRAME, options.rounds)}, indent=2))


if __name__ == "__main__":
    main()
