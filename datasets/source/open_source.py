"""Opening a data set on disk by its name or description."""

import os
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.frame import as_array
from depthvar.datasets.paths import as_text, spelling_hint
from depthvar.datasets.scalars import as_float

from .catalogue import find_description, is_file
from .depth_source import DepthSource
from .readers import reader_of


def open_source(
    dataset: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    *,
    intrinsics: ArrayLike | None = None,
    units_per_metre: float | None = None,
    pattern: str | None = None,
    max_depth: float | None = None,
    mixed_sizes: bool = False,
) -> DepthSource:
    """Open a data set on disk.

    Numbers may be Python's or NumPy's; a float32 becomes the shortest decimal that rounds to it (np.float32(0.1): 0.1).

    Args:
        dataset: a name that ``precompute datasets`` lists, or the path of a description that ends in ``.toml``.
        root: the folder that holds it, or a URL such as ``s3://bucket/scans`` (docs/object-stores.md). None:
            ``$DEPTHVAR_DATA/<dataset>``; for a ``.toml``, the folder it is in.
        intrinsics: fx, fy, cx, cy in pixels, or a 3×3 matrix, in place of the description's.
        units_per_metre: stored units in a metre, in place of the description's.
        pattern: template of the depth files, such as ``"{sequence}/depth/{frame}.png"``, in place of the
            description's. Its suffix decides the container where the description does not (data set ``folder``).
        max_depth: metres, in place of the description's; inf for no maximum.
        mixed_sizes: frames of one sequence differ in size. At a URL, where that is not expected, a run then reads the
            header of every new frame before it begins. In a folder it always does.

    Raises:
        DescriptionError: the data set is unknown, its description or an option is wrong, or it has no intrinsics.
        SourceError: there is no root, or it is not a folder.
        StoreError: the root is a URL that nothing opens here; what is there is looked at later.
        ParameterError: the intrinsics are not an array, or the data set or root is not text.

    Example:
        >>> from depthvar.datasets import open_source
        >>> source = open_source("hospital-sample", "data/hospital-sample")
        >>> frame = source.read("Easy/P000/depth_left/000000_left_depth.npy")
        >>> frame.depth.dtype, frame.intrinsics.shape
        (dtype('float32'), (4,))
    """
    dataset = _text("dataset", dataset)
    root = None if root is None else _text("root", root)
    depth = {"units_per_metre": units_per_metre, "max_depth": max_depth}
    overrides: dict[str, dict[str, Any]] = {
        "files": {} if pattern is None else {"depth": pattern},
        "depth": {name: value for name, value in depth.items() if value is not None},
        "intrinsics": {} if intrinsics is None else {"constant": _plain(as_array("intrinsics", intrinsics))},
    }
    description = find_description(dataset, overrides)
    from_toml, way_out = is_file(dataset), "pass --root DIR" if root is None else "check --root"
    if root is None and from_toml:
        root = os.path.dirname(dataset) or "."
    elif root is None:
        if not (data := os.environ.get("DEPTHVAR_DATA")):
            raise SourceError(
                f"{dataset}: no root: pass --root DIR, or set DEPTHVAR_DATA to the folder above {dataset}/"
            )
        root = os.path.join(data, dataset)
    name = description.names[0] if from_toml else dataset
    source = reader_of(description)(name, description, root, mixed_sizes)
    if isinstance(source.root, Path) and not source.root.is_dir():
        fault = "a file, not a folder" if source.root.exists() else "no such folder"
        raise SourceError(
            f"{source.root}: {fault}{spelling_hint(str(source.root))}: expected the data set '{source.name}' there, "
            f"laid out as '{description.depth_path}'; {way_out}"
        )
    return source


def _text(name: str, path: Any) -> str:
    if not (text := as_text(path)):
        raise ParameterError(f"{name}: expected a name or a path, got {path!r}")
    return text


def _plain(intrinsics: NDArray[Any]) -> list[Any]:
    """Return an array as a flat list: of Python's numbers, or of what else it holds, which a description refuses."""
    numbers = intrinsics.ravel()
    return [as_float(x) for x in numbers] if numbers.dtype.kind in "iuf" else numbers.tolist()
