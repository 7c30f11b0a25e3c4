"""The cache on disk, format version 1: names, array metadata, attributes and their checksums.

One Zarr v3 group; a group per sequence; in it ``sigma_Z2`` (stride 1), ``sigma_Z2_s2`` … and the bookkeeping
arrays. docs/format.md is the contract; the reader (``sigma_cache``) and the writer
(``depthvar.precompute.pipeline.store``) both import it.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import REPAIR, CacheError, ParameterError
from depthvar.datasets.source.templates import stays_below

from .attributes import check_content

FORMAT = "depthvar-sigma_Z2"
FORMAT_VERSION = 1
CACHE_NAME = "sigma_Z2.zarr"

ROOT_SEQUENCE = "_root"  # the group of the frames that lie in no sequence folder
MAX_SHARD_FRAMES = 64
MAX_SHARD_BYTES = 96 << 20  # raw float32 over all strides: what a worker holds at once
# What metadata may claim: more is refused before memory is taken for it.
MAX_MAP_BYTES = 2**31 - 32  # of a map of one frame; Blosc holds no more
MAX_KEY_BYTES = 4096
MAX_SHARDS = 1 << 17  # of a group; a reader looks for each, be it there or not
MAX_ROWS_BYTES = 1 << 30  # of a group's bookkeeping

BLOCK_BYTES = 192 << 10  # of a map that Blosc packs at once; a reader of some rows decodes those it needs
DIGEST_BYTES = 32
NOT_DONE = bytes(DIGEST_BYTES)
FAILED = b"\xff" * DIGEST_BYTES

_RESERVED = re.compile(r"sigma_Z2(_s\d+)?|depth|intrinsics|key|digest|source_stat|_root|zarr\.json|__.*|.*@\d+x\d+")


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def seal(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``attributes`` with a ``checksum``: the SHA-256 of the canonical JSON of the others."""
    content = {name: value for name, value in attributes.items() if name != "checksum"}
    return content | {"checksum": hashlib.sha256(canonical_json(content)).hexdigest()}


def unseal(attributes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the attributes without their checksum.

    Raises:
        CacheError: the checksum is missing or does not match: a byte of the metadata has changed.
    """
    try:
        expected = seal(attributes)["checksum"]
    except (ValueError, TypeError, RecursionError) as error:  # NaN, lone surrogates, no end of nesting
        raise CacheError(f"{where}: attributes are damaged: expected JSON, got {type(error).__name__}") from error
    if attributes.get("checksum") != expected:
        raise CacheError(
            f"{where}: attributes are damaged: expected checksum {expected}, got {attributes.get('checksum')}; "
            "restore zarr.json from a copy, or compute the cache anew with --overwrite"
        )
    return {name: value for name, value in attributes.items() if name != "checksum"}


def level_name(stride: int) -> str:
    """Return the name of the array that holds the level of ``stride``."""
    return "sigma_Z2" if stride == 1 else f"sigma_Z2_s{stride}"


def level_shape(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return (ceil(H / stride), ceil(W / stride)), the shape of ``depth[::stride, ::stride]``."""
    return -(-height // stride), -(-width // stride)


def frame_bytes(height: int, width: int, strides: Iterable[int]) -> int:
    """Return the bytes of a frame's maps as raw float32, all strides together."""
    return sum(4 * rows * columns for rows, columns in (level_shape(height, width, s) for s in strides))


def shard_frames(height: int, width: int, strides: Iterable[int], most: int = MAX_SHARD_FRAMES) -> int:
    """Return how many frames a shard holds: at most ``most``, and at most 96 MiB of float32 over all strides."""
    return max(1, min(most, MAX_SHARD_BYTES // frame_bytes(height, width, strides)))


def check_sequence(sequence: str) -> str:
    """Return the group of a sequence, or raise ParameterError where a folder is named like a part of the format."""
    for part in sequence.split("/") if sequence else ():
        if _RESERVED.fullmatch(part) or "\\" in part:
            raise ParameterError(
                f"sequence {sequence!r}: the folder name {part!r} is one that the cache uses itself; rename the folder"
            )
    return sequence or ROOT_SEQUENCE


def group_name(sequence: str, shape: tuple[int, int], first: tuple[int, int]) -> str:
    """Return the group that holds frames of ``shape`` of a sequence whose first frame has the shape ``first``."""
    name = check_sequence(sequence)
    return name if shape == first else f"{name}@{shape[0]}x{shape[1]}"


def encode_keys(keys: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Return (len(keys), width) uint8: UTF-8, padded with zeros. The keys must fit (see ``key_bytes``)."""
    return np.array([key.encode() for key in keys], dtype=f"S{width}").view(np.uint8).reshape(-1, width)


def decode_keys(rows: NDArray[np.uint8]) -> list[str]:
    """Return the keys of (N, L) uint8 rows; an unused row gives an empty string."""
    return [bytes(row).rstrip(b"\0").decode() for row in rows]


def key_bytes(keys: Iterable[str]) -> int:
    """Return L for a new group: the longest key rounded up to a multiple of 64, so that later frames fit too."""
    return -(-max((len(key.encode()) for key in keys), default=1) // 64) * 64


@dataclass(frozen=True)
class GroupLayout:
    """What decides the arrays of a group. Later runs take it from the group that exists."""

    height: int
    width: int
    shard_frames: int
    key_bytes: int

    def check(self, rows: int, where: str) -> None:
        """Raise CacheError where no cache of this format has such a group, or one of so many rows."""
        numbers = (self.height, self.width, self.shard_frames, self.key_bytes)
        if not all(type(number) is int and number > 0 for number in numbers):
            raise CacheError(f"{where}: expected whole numbers above 0, got {self}; {REPAIR}")
        frames = shard_frames(self.height, self.width, (1,))
        most = min(MAX_SHARDS * self.shard_frames, MAX_ROWS_BYTES // (self.key_bytes + DIGEST_BYTES + 32 + 16))
        for what, limit, got in (
            ("bytes of a map", MAX_MAP_BYTES, 4 * self.height * self.width),
            ("bytes of a key", MAX_KEY_BYTES, self.key_bytes),
            ("frames in a shard", frames, self.shard_frames),
            ("frames in a group", most, rows),
        ):
            if got > limit:
                raise CacheError(f"{where}: expected at most {limit} {what}, got {got}; cut up the frames or sequence")

    def attributes(self, sequence: str) -> dict[str, Any]:
        """Return the sealed attributes of the group."""
        return seal(
            {
                "sequence": sequence,
                "height": self.height,
                "width": self.width,
                "shard_frames": self.shard_frames,
                "key_bytes": self.key_bytes,
            }
        )

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any], where: str) -> tuple[str, "GroupLayout"]:
        """Return (sequence, layout) from a group's sealed attributes."""
        content = unseal(attributes, where)
        try:
            numbers = [content[name] for name in ("height", "width", "shard_frames", "key_bytes")]
            sequence = content["sequence"]
        except KeyError as error:
            raise CacheError(f"{where}: not a sequence of a depthvar cache: attribute {error} is missing") from None
        if not isinstance(sequence, str) or (sequence and not stays_below(sequence)):
            raise CacheError(f"{where}: expected the folders of a sequence below the root, got {sequence!r}")
        layout = cls(*numbers)
        layout.check(0, where)
        return sequence, layout


def array_names(strides: Iterable[int], with_depth: bool) -> list[str]:
    """Return the arrays of every group, in the order in which they are created: without digests none is complete."""
    return [*map(level_name, strides), *["depth"] * with_depth, "intrinsics", "key", "source_stat", "digest"]


def folders_of(name: str) -> list[str]:
    """Return the folders above a group or file, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def array_arguments(
    layout: GroupLayout, frames: int, strides: Sequence[int], with_depth: bool
) -> dict[str, dict[str, Any]]:
    """Return the arguments of ``zarr.Group.create_array`` for every array of a group, by name.

    Levels: float32 in m², one frame a chunk, fill value NaN (never written, or lost). Every chunk ends in CRC32C.
    """
    from zarr.codecs import Crc32cCodec

    crc = Crc32cCodec()
    maps = {level_name(stride): (stride, "sigma_Z2", "m2") for stride in strides}
    if with_depth:
        maps["depth"] = (1, "depth", "m")
    arrays: dict[str, dict[str, Any]] = {}
    for name, (stride, quantity, unit) in maps.items():
        rows, columns = level_shape(layout.height, layout.width, stride)
        suffix = "" if stride == 1 else f"_s{stride}"
        arrays[name] = {
            "shape": (frames, rows, columns),
            "chunks": (1, rows, columns),
            "shards": (layout.shard_frames, rows, columns),
            "dtype": "float32",
            "fill_value": np.float32(np.nan),
            "compressors": (_blosc(4 * rows * columns, stride), crc),
            "dimension_names": ("frame", f"y{suffix}", f"x{suffix}"),
            "attributes": seal({"quantity": quantity, "units": unit, "stride": stride}),
        }
    bookkeeping = {
        "intrinsics": ((4,), "float64", ("frame", "fx_fy_cx_cy"), {"quantity": "intrinsics", "units": "px"}),
        "key": ((layout.key_bytes,), "uint8", ("frame", "byte"), {"quantity": "key", "encoding": "utf-8"}),
        "digest": ((DIGEST_BYTES,), "uint8", ("frame", "sha256"), {"quantity": "digest"}),
        "source_stat": ((2,), "int64", ("frame", "size_hash"), {"quantity": "source_stat"}),
    }
    for name, (tail, dtype, dimensions, attributes) in bookkeeping.items():
        arrays[name] = {
            "shape": (frames, *tail),
            "chunks": (layout.shard_frames, *tail),
            "dtype": dtype,
            "fill_value": 0,
            "compressors": (crc,),
            "dimension_names": dimensions,
            "attributes": seal(attributes),
        }
    for arguments in arrays.values():
        arguments["config"] = {"write_empty_chunks": True}
    return arrays


def _blosc(chunk_bytes: int, stride: int) -> Any:
    """Return the compressor of a map: zstd, and lz4 for coarse strides, which a loader decodes three times as fast.

    Blocks are of at most 192 KiB, equal, and multiples of 128 bytes: Blosc does not shuffle the rest of a map that is
    not. That is a third faster than Blosc's own block size, and smaller.
    """
    from zarr.codecs import BloscCodec

    blocks = -(-chunk_bytes // BLOCK_BYTES)
    block = max(128, chunk_bytes // blocks // 128 * 128)
    if stride == 1:
        return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=4, blocksize=block)
    # Blosc takes a block of lz4 apart into its four bytes, and wants the size of one part.
    return BloscCodec(cname="lz4", clevel=9, shuffle="bitshuffle", typesize=4, blocksize=block // 4)


@cache
def expected_metadata(
    layout: GroupLayout, frames: int, strides: tuple[int, ...], with_depth: bool
) -> dict[str, dict[str, Any]]:
    """Return the ``zarr.json`` content that the format implies for every array of a group, by name."""
    import zarr

    group = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)
    return {
        name: array_metadata(group.create_array(name, **arguments))
        for name, arguments in array_arguments(layout, frames, strides, with_depth).items()
    }


def array_metadata(array: Any) -> dict[str, Any]:
    """Return the content of an open array's ``zarr.json`` in a form that compares (NaN equals NaN)."""
    metadata: dict[str, Any] = json.loads(json.dumps(array.metadata.to_dict(), default=str))
    return {name: str(value) if name == "fill_value" else value for name, value in metadata.items()}


def check_root(attributes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the root's attributes after checking format, version, checksum, and that they can be used.

    Raises:
        CacheError: not a cache of ours, a version this depthvar does not know, or damaged attributes.
    """
    if attributes.get("format") != FORMAT:
        raise CacheError(
            f"{where}: not a depthvar cache: expected format {FORMAT!r}, got {attributes.get('format')!r}; "
            "check the path"
        )
    if attributes.get("format_version") != FORMAT_VERSION:
        raise CacheError(
            f"{where}: format version {attributes.get('format_version')!r}, this depthvar reads {FORMAT_VERSION}; "
            "install the depthvar that wrote it, or compute the cache anew with --overwrite"
        )
    content = unseal(attributes, where)
    check_content(content, where)
    return content
