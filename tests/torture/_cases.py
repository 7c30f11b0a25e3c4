"""One fuzzed case each: a source or a cache is spoiled, used like a user would, and judged."""

import random
import re
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import _hostile
import numpy as np
from click.testing import CliRunner
from tiny_data import DESCRIPTION, TinyData, make_depth

from depthvar.datasets import open_source
from depthvar.datasets.cache.sigma_cache import SigmaCache
from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.source.templates import stays_below
from depthvar.precompute.cli.main import main as command
from depthvar.precompute.kernel.api import sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.report.info import cache_info
from depthvar.precompute.validation.validate import validate

KEYS = ("a/P0/depth/000.npy", "b/depth/001.npy")
VIEW = ((20.0, 20.0, 8.0, 6.0), (12, 16))
SOURCES = ("npy", "png", "toml", "camera", "camera.npy", "mask", "strange")


class Fault(Exception):
    """What must never happen."""


def sane(values: Any, what: str) -> None:
    """Raise Fault unless the values are σ² or depth: float32, at least 0, not NaN."""
    if values.dtype != np.float32 or not values.size or not values.min() >= 0:
        raise Fault(f"{what}: {values.dtype}, {values.shape}, not all at least 0")


def outcome(call: Callable[[], Any]) -> str:
    """Call, and return "right" or the name of the error of depthvar that it raised."""
    try:
        call()
    except DepthVarError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                raise Fault(f"took memory before it refused: {error}") from error
            cause = cause.__cause__ or cause.__context__
        if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", str(error)):
            raise Fault(f"more than one line, or control characters: {str(error)!r}") from error
        return type(error).__name__
    return "right"


def typed(*words: object) -> None:
    """Run a command, and raise Fault unless it ends as docs/cli.md says."""
    result = CliRunner().invoke(command, [str(word) for word in words])
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    if not (result.exception is None or isinstance(result.exception, SystemExit)):
        raise Fault(f"{words}: {result.exception!r}") from result.exception
    documented = result.exit_code in (0, 1, 2, 3, 4) and len(errors) == (result.exit_code in (1, 2))
    if not documented or "Traceback" in result.stderr or "Warning" in result.stderr:
        raise Fault(f"{words}: exit code {result.exit_code}, {result.stderr!r}")


def source_case(number: int, seed: int, folder: Path) -> tuple[str, str]:
    """Fuzz one source; return its kind and what became of it."""
    dice = random.Random(f"{seed} source {number}")
    kind = SOURCES[number % len(SOURCES)]
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    data = TinyData(root)
    suffix = "png" if kind == "png" else "npy"
    text = DESCRIPTION
    if kind == "png":
        view = 'view = "<f4"' if dice.random() < 0.2 else ""
        text = text.replace("{frame}.npy", "{frame}.png")
        text = text.replace('"float32"\nfar = [inf]', f'["uint16", "uint8"]\n{view}')
    if kind == "mask":
        mask = dice.choice(["npy", "png"])
        text = text.replace("[depth]", f'[[masks]]\nfile = "{{sequence}}/mask/{{frame}}.{mask}"\n[depth]')
    if kind == "camera.npy":
        text = text.replace("{frame}.txt", "{frame}.npy")
    depth = make_depth(24, 32, 1)
    data.write("a/P0", "000", depth)
    place, camera = root / f"a/P0/depth/000.{suffix}", root / "a/P0/camera/000.txt"
    data.toml.write_text(text)
    match kind:
        case "npy":
            place.write_bytes(_hostile.npy(depth, dice))
        case "png":
            (root / "a/P0/depth/000.npy").unlink()
            place.write_bytes(_hostile.png((100 * np.nan_to_num(depth, posinf=0)).astype(np.uint16), dice))
        case "toml":
            data.toml.write_bytes(_hostile.toml(text, dice))
        case "camera":
            camera.write_bytes(_hostile.camera(dice))
        case "camera.npy":
            camera.with_suffix(".npy").write_bytes(_hostile.npy(np.array([40.0, 40, 16, 12]), dice))
        case "mask":
            (root / "a/P0/mask").mkdir()
            values = (depth > 5).astype(np.uint8)
            spoiled = _hostile.npy(values, dice) if mask == "npy" else _hostile.png(values, dice)
            (root / f"a/P0/mask/000.{mask}").write_bytes(spoiled)
        case _:
            _hostile.strange_file(dice.choice([place, camera]), dice)

    def read() -> None:
        source = open_source(str(data.toml), root)
        for key in source.keys()[:3]:
            if not stays_below(key):
                raise Fault(f"the key {key!r}")
            source.stat(key)
            frame = source.read(key)
            sane(frame.depth, key)
            if frame.depth.shape != source.shape(key):
                raise Fault(f"{key}: header and content differ")
            sane(sigma_z2(frame.depth, frame.intrinsics, max_depth=frame.max_depth), f"σ² of {key}")

    found = outcome(read)
    if number % 40 == 0:
        words = ["run", "--dataset", data.toml, "--root", root, "--strides", "1,2"]
        typed(*words, *dice.choice([[], ["--on-error", "skip"]]))
    return kind, found


def make_cache(root: Path) -> Path:
    """Write a cache with two sequences, a second size, and depth."""
    data = TinyData(root)
    for sequence, count in (("a/P0", 3), ("b", 2)):
        for index in range(count):
            data.write(sequence, f"{index:03}", make_depth(24, 32, index))
    data.write("b", "009", make_depth(20, 28, 9))
    list(pipeline.run(data.job(strides=(1, 2), with_depth=True), execute.serial))
    return root / "sigma_Z2.zarr"


@lru_cache
def kinds_of_files(whole: Path) -> dict[str, list[Path]]:
    """Return the files of a cache by what they hold, relative to it."""
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    arrays = [path for path in files if path.name == "zarr.json" and any((whole / path).parent.glob("c.*"))]
    return {
        "root": [Path("zarr.json")],
        "group": [path for path in files if path.name == "zarr.json" and path not in arrays],
        "array": arrays,
        "rows": [path for path in files if path.match("c.*") and path.name.count(".") == 2],
        "shard": [path for path in files if path.match("c.*") and path.name.count(".") == 3],
    }


def use_cache(cache: Path) -> None:
    """Read a cache as training does; raise Fault where what comes is not sane."""
    reader = SigmaCache(cache)
    for key in reader.keys():
        if not stays_below(key):
            raise Fault(f"the key {key!r}")
    for key in KEYS:
        height, width = reader.shape(key)
        if not (np.isfinite(reader.intrinsics(key)).all() and height > 0 and width > 0):
            raise Fault(f"{key}: impossible size or intrinsics")
        for stride in reader.strides:
            sane(reader.read(key, stride), key)
        sane(reader.sample(key, *VIEW), f"sample of {key}")
        view: dict[str, Any] = {"depthmap": np.ones(VIEW[1], np.float32), "camera_intrinsics": VIEW[0]}
        reader.annotate(view, key)
        sane(view["sigma_Z2"], f"annotate of {key}")
        if not np.isfinite(view["sigma_Z2_params"]).all():
            raise Fault(f"{key}: impossible parameters")


def cache_case(number: int, seed: int, folder: Path) -> tuple[str, str]:
    """Fuzz one or two files of a cache; return the kind of the first and what became of it."""
    dice = random.Random(f"{seed} cache {number}")
    whole, cache = folder / "whole/sigma_Z2.zarr", folder / "root/sigma_Z2.zarr"
    if not whole.exists():
        make_cache(folder / "whole")
    if not cache.exists():
        shutil.copytree(folder / "whole", folder / "root", dirs_exist_ok=True)
    kinds = kinds_of_files(whole)
    chosen = [
        dice.choice(["root", "root", "group", "array", "array", "rows", "rows", "shard"])
        for _ in range(dice.choice([1, 1, 2]))
    ]
    changed = []
    for kind in chosen:
        path = dice.choice(kinds[kind])
        good = (whole / path).read_bytes()
        match kind:
            case "rows":
                spoiled = _hostile.bookkeeping(good, dice)
            case "shard":
                spoiled = _hostile.shard(good, 64, dice)
            case _:
                spoiled = _hostile.zarr_json(good, dice)
        (cache / path).write_bytes(spoiled)
        changed.append(path)

    found = outcome(lambda: use_cache(cache))
    if number % 4 == 0:
        outcome(lambda: cache_info(str(cache)))
    if number % 10 == 0:
        outcome(lambda: validate(str(cache), folder / "root" if dice.random() < 0.5 else None))
    if number % 40 == 0:
        words = dice.choice(
            [["info"], ["info", "--json"], ["validate"], ["validate", "--full"], ["validate", "--clear"]]
        )
        typed(*words, cache)
    if number % 40 == 1:
        words = ["run", "--dataset", folder / "root/tiny.toml", "--strides", "1,2", "--with-depth"]
        typed(*words, *dice.choice([[], ["--overwrite"]]))
    if number % 40 < 2:
        shutil.rmtree(folder / "root")
    for path in changed:
        if cache.exists():
            shutil.copyfile(whole / path, cache / path)
    return chosen[0], found
