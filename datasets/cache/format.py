"""The cache on disk, format version 1: names, sizes, and how arrays are cut up. Pure; docs/format.md has it in words.

One Zarr v3 group; in it a group per sequence; in that ``sigma_Z2`` (stride 1), ``sigma_Z2_s2`` … and the bookkeeping.
Reader (``sigma_cache``) and writer (``depthvar.precompute.pipeline.write``) both import it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.errors import DamagedError
from depthvar.datasets.source.templates import stays_below

from .attributes import seal, unseal

CACHE_NAME = "sigma_Z2.zarr"

ROOT_SEQUENCE = "_root"  # the group of the frames that lie in no sequence folder
MAX_SHARD_FRAMES = 64
MAX_SHARD_BYTES = 96 << 20  # raw float32 over all maps
BAND_BYTES = 200 << 10  # of a map that is packed at once; a reader of some rows decodes the bands they lie in
CRC_BYTES = 4

# What metadata may claim: more is refused before memory is allocated for it.
MAX_MAP_BYTES = 2**31 - 32  # of a map of one frame
MAX_KEY_BYTES = 4096
MAX_SHARDS = 1 << 17  # of a group; a reader looks for each, be it there or not
MAX_ROWS_BYTES = 1 << 30  # of a group's bookkeeping

DIGEST_BYTES = 32
NOT_DONE = bytes(DIGEST_BYTES)
FAILED = b"\xff" * DIGEST_BYTES

COLUMNS: Mapping[str, np.dtype[Any]] = {  # the bookkeeping, one row a frame
    "key": np.dtype("u1"),
    "digest": np.dtype("u1"),
    "intrinsics": np.dtype("<f8"),
    "source_stat": np.dtype("<i8"),
}

# Names that a group has for itself, also where the file system knows no capitals; the last only in caches that hold it.
_TAKEN = re.compile(
    r"sigma_Z2(_s\d+)?|depth|intrinsics|key|digest|source_stat|_root|zarr\.json|__.*|.*@\d+x\d+", re.IGNORECASE
)
_TAKEN_BY_EDGE = re.compile(r"edge(_s\d+)?", re.IGNORECASE)

SIGMA_Z2, EDGE = "sigma_Z2", "edge"  # the quantities that have a map at every stride
DEPTH = "depth"  # at stride 1 only


def level_name(stride: int, quantity: str = SIGMA_Z2) -> str:
    """Return the name of the array that holds a quantity at ``stride``."""
    return quantity if stride == 1 else f"{quantity}_s{stride}"


def level_shape(height: int, width: int, stride: int) -> tuple[int, int]:
    """Return (ceil(H / stride), ceil(W / stride)), the shape of ``depth[::stride, ::stride]``."""
    return -(-height // stride), -(-width // stride)


def frame_bytes(height: int, width: int, strides: Iterable[int]) -> int:
    """Return the bytes of a frame's maps as raw float32: one for each of the strides, which may be the same."""
    return sum(4 * rows * columns for rows, columns in (level_shape(height, width, s) for s in strides))


def shard_frames(height: int, width: int, strides: Iterable[int], most: int = MAX_SHARD_FRAMES) -> int:
    """Return how many frames a shard holds: at most ``most``, and at most 96 MiB of float32 over all maps."""
    return max(1, min(most, MAX_SHARD_BYTES // frame_bytes(height, width, strides)))


def sequence_group(sequence: str, keep: Sequence[str] = ()) -> str:
    """Return the group of a sequence: its folders, with a ``~`` behind a name that the format has for itself.

    No two sequences have one group: a name that ends in ``~`` gets one more. ``keep``: as of ``StoredMaps``.
    """
    return _sequence_group(sequence, EDGE in keep)


@lru_cache(4096)
def _sequence_group(sequence: str, with_edge: bool) -> str:
    def is_taken(part: str) -> bool:
        taken = _TAKEN.fullmatch(part) or (with_edge and _TAKEN_BY_EDGE.fullmatch(part))
        return bool(taken) or part.endswith("~")

    return "/".join(part + "~" * is_taken(part) for part in sequence.split("/")) if sequence else ROOT_SEQUENCE


def group_name(sequence: str, shape: tuple[int, int], first: tuple[int, int], keep: Sequence[str] = ()) -> str:
    """Return the group that holds frames of ``shape`` of a sequence whose first frame has the shape ``first``."""
    name = sequence_group(sequence, keep)
    return name if shape == first else f"{name}@{shape[0]}x{shape[1]}"


def without_size(group: str) -> str:
    """Return the group of a sequence's first size of frames: what is before an ``@``."""
    return re.sub(r"@\d+x\d+$", "", group) if "@" in group else group


def folders_of(name: str) -> list[str]:
    """Return the folders above a group or file, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def encode_keys(keys: Sequence[str], width: int) -> NDArray[np.uint8]:
    """Return (len(keys), width) uint8: UTF-8, padded with zeros. The keys must fit (see ``key_bytes``)."""
    return np.array([key.encode() for key in keys], dtype=f"S{width}").view(np.uint8).reshape(-1, width)


def decode_keys(rows: NDArray[np.uint8], where: str) -> list[str]:
    """Return the keys of (N, L) uint8 rows, empty for an unused row.

    Raises:
        DamagedError: a key is not UTF-8, or leads out of the root of the data set.
    """
    if not rows.size:
        return []
    raw = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}").ravel().tolist()
    try:
        used = b"/".join(filter(None, raw)).decode()
    except UnicodeDecodeError as error:
        raise DamagedError(where, f"a key is not UTF-8: {error}") from error
    if used and not stays_below(used):  # as it is for each alone, which needs far longer
        bad = next(key for key in map(bytes.decode, raw) if key and not stays_below(key))
        raise DamagedError(where, f"expected keys below the root of the data set, got {bad!r}: do not trust this cache")
    return b"\0".join(raw).decode().split("\0")  # no key holds a zero: it is a control character


def key_bytes(keys: Iterable[str]) -> int:
    """Return L for a new group: the longest key rounded up to a multiple of 64, so that later frames fit too."""
    return -(-max((len(key.encode()) for key in keys), default=1) // 64) * 64


@dataclass(frozen=True)
class MapLayout:
    """How the maps of one array are cut up: a chunk is a band of rows of one frame.

    Attributes:
        height, width: of a map, in pixels of its level.
        shard_frames: of the group.
        stride: of the level; 1 for stored depth.
    """

    height: int
    width: int
    shard_frames: int
    stride: int

    @cached_property
    def band_rows(self) -> int:
        """Rows of a chunk: all bands are equal, and hold about 200 KiB of float32.

        A multiple of 8: Blosc's bitshuffle leaves a block alone whose numbers are not one, which packs far worse.
        """
        bands = max(1, round(4 * self.height * self.width / BAND_BYTES))
        return -(-self.height // (8 * bands)) * 8

    @cached_property
    def bands(self) -> int:
        """Chunks of a map; the lowest may reach below it."""
        return -(-self.height // self.band_rows)

    @cached_property
    def chunks(self) -> int:
        """Chunks of a shard."""
        return self.shard_frames * self.bands

    @cached_property
    def index_bytes(self) -> int:
        """Bytes of a shard's index, with its CRC32C."""
        return 16 * self.chunks + CRC_BYTES

    @property
    def compressor(self) -> tuple[str, int, int]:
        """Blosc's codec, level and block size: zstd, and lz4 for coarse strides, which decodes three times as fast.

        One block a chunk packs best. Blosc divides a block of lz4 into its four bytes, and wants the size of one part.
        """
        block = -(-4 * self.band_rows * self.width // 128) * 128
        return ("zstd", 1, block) if self.stride == 1 else ("lz4", 9, block // 4)


@dataclass(frozen=True)
class GroupLayout:
    """What decides the arrays of a group. Later runs take it from the group that exists."""

    height: int
    width: int
    shard_frames: int
    key_bytes: int

    def maps(self, stride: int) -> MapLayout:
        """Return how the maps of a level are cut up."""
        return _map_layout(self, stride)

    def check(self, rows: int, where: str) -> None:
        """Raise DamagedError where no cache of this format has such a group, or one of so many rows."""
        numbers = (self.height, self.width, self.shard_frames, self.key_bytes)
        if not all(type(number) is int and number > 0 for number in numbers):
            raise DamagedError(where, f"expected whole numbers above 0, got {self}")
        most = min(MAX_SHARDS * self.shard_frames, MAX_ROWS_BYTES // (self.key_bytes + DIGEST_BYTES + 32 + 16))
        for what, limit, got in (
            ("bytes of a map", MAX_MAP_BYTES, 4 * self.height * self.width),
            ("bytes of a key", MAX_KEY_BYTES, self.key_bytes),
            ("frames in a shard", shard_frames(self.height, self.width, (1,)), self.shard_frames),
            ("frames in a group", most, rows),
        ):
            if got > limit:
                raise DamagedError(where, f"expected at most {limit} {what}, got {got}")

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
    def from_attributes(cls, attributes: object, where: str) -> tuple[str, "GroupLayout"]:
        """Return (sequence, layout) from a group's sealed attributes; DamagedError where they are none."""
        content = unseal(attributes, where)
        try:
            numbers = [content[name] for name in ("height", "width", "shard_frames", "key_bytes")]
            sequence = content["sequence"]
        except KeyError as error:
            raise DamagedError(where, f"attribute {error} is missing") from None
        if not isinstance(sequence, str) or (sequence and not stays_below(sequence)):
            raise DamagedError(where, f"expected the folders of a sequence below the root, got {sequence!r}")
        layout = cls(*numbers)
        layout.check(0, where)
        return sequence, layout


def column_width(name: str, layout: GroupLayout) -> int:
    """Return the numbers that a column of bookkeeping has for each frame."""
    return {"key": layout.key_bytes, "digest": DIGEST_BYTES, "intrinsics": 4, "source_stat": 2}[name]


def map_path(group: str, array: str, row: int, layout: GroupLayout) -> str:
    """Return where the shard of maps that holds a row is stored."""
    return f"{group}/{array}/c.{row // layout.shard_frames}.0.0"


def column_path(group: str, column: str, row: int, layout: GroupLayout) -> str:
    """Return where the chunk of bookkeeping that holds a row is stored."""
    return f"{group}/{column}/c.{row // layout.shard_frames}.0"


@lru_cache(1024)  # a reader asks for it several times a view
def _map_layout(group: GroupLayout, stride: int) -> MapLayout:
    return MapLayout(*level_shape(group.height, group.width, stride), group.shard_frames, stride)
