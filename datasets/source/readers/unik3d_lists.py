"""The lists in HDF5 files of UniDepth and UniK3D: which frames there are, and their cameras."""

import json
from functools import lru_cache
from typing import Any

from depthvar.datasets.source.containers import OpenFile, check_size, decoding, for_library, library, read_file
from depthvar.datasets.source.files import Status

Cameras = dict[tuple[int, str], Any]
"""Number of a file, and path of a depth map in it -> the numbers of its camera; none where the lists have none."""


@lru_cache(maxsize=64)
def listed_cameras(path: str, state: Status) -> Cameras:
    """Return the frames of the lists in a file, which are kept as long as its state is the same; SourceError."""

    def read(file: OpenFile, start: bytes, size: int) -> Cameras:
        h5py = library("h5py", "hdf5")
        with decoding("the lists of an HDF5 file"), h5py.File(for_library(file), "r", locking=False) as content:
            names = [name for name in content if name.endswith((".txt", ".json"))]
            for name in names:
                check_size(content[name].shape, 1, size)
            texts = {name: bytes(content[name][()]).decode() for name in names}
            return _parse(texts, is_chunked=path.rpartition(".")[0].endswith("_0"))

    return read_file(path, read)


def _parse(texts: dict[str, str], is_chunked: bool) -> Cameras:
    """Return the frames of lists: .json has cameras by folder or image, or sequences; .txt has images and depths."""
    tables: dict[str, Any] = {}
    for name, text in texts.items():
        if name.endswith(".json"):
            tables |= json.loads(text)
    found: Cameras = {}
    for table in tables.values():
        if isinstance(table, dict) and "depth" in table:
            number = int(table.get("chunk_idx", 0)) if is_chunked else 0
            found |= {(number, depth): _of_sequence(table, place) for place, depth in enumerate(table["depth"])}
    for name, text in texts.items():
        for words in (line.split() for line in text.splitlines() if name.endswith(".txt")):
            if len(words) < 2 or words[1] == "None" or words[1].isdecimal():  # without depth; a sequence and its length
                continue
            number = int(words[2]) if is_chunked and words[2:] and words[2].isdecimal() else 0
            found.setdefault((number, words[1]), _of_image(tables, words[0]))
    return found


def _of_sequence(table: dict[str, Any], place: int) -> Any:
    if "K" in table:
        return table["K"][place]
    is_pinhole = "camera_params" in table and table["camera_model"][place] == "Pinhole"
    return table["camera_params"][place][:4] if is_pinhole else ()


def _of_image(tables: dict[str, Any], image: str) -> Any:
    """Return the camera of an image, or of the innermost of its folders that has one."""
    while image and not isinstance(tables.get(image), list):
        image = image.rpartition("/")[0]
    return tables.get(image, ())
