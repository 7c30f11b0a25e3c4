"""The built-in sample: a hospital corridor, ray-cast and written in TartanAir V1's own file layout.

The world is TartanAir's: NED, x forward, y right, z down, metres, the floor at ``z = 0``. The scene is modelled in
``(x, y, height)`` with ``height = -z``.
"""

import logging
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.compiled import announced
from depthvar.datasets.errors import ParameterError, SourceError

from .raycast import cast
from .render import SAMPLE_INTRINSICS, SAMPLE_SIZE, SKY_DEPTH, render
from .scene import scene

__all__ = [
    "FRAMES",
    "SAMPLE_INTRINSICS",
    "SAMPLE_SIZE",
    "SEQUENCES",
    "SKY_DEPTH",
    "camera_poses",
    "render",
    "scene",
    "write_sample",
]

FRAMES = 24  # in each sequence
SEQUENCES = ("Easy/P000", "Hard/P001")
_LOG = logging.getLogger("depthvar")
_MARKER = "depthvar hospital sample, version 1"


def camera_poses(sequence: str) -> NDArray[np.float64]:
    """Return the walk of a sequence.

    Easy strolls down the first third of the corridor and looks into the rooms; Hard hurries on from there, with more
    yaw, pitch and roll.

    Args:
        sequence: one of ``SEQUENCES``.

    Returns:
        (24, 4, 4) float64, camera to world: a camera with x right, y down, z forward (OpenCV) in the NED world, metres.

    Raises:
        ParameterError: an unknown sequence.
    """
    if sequence not in SEQUENCES:
        raise ParameterError(f"camera_poses: expected one of {', '.join(SEQUENCES)}, got {sequence!r}")
    s = np.linspace(0, 1, FRAMES)
    wave = 2 * np.pi * s
    if sequence == SEQUENCES[0]:
        x, y, height = 0.4 + 11.4 * s, -0.15 + 0.12 * np.cos(wave), 1.5 + 0.02 * np.sin(5 * wave)
        yaw = -36 * np.sin(1.5 * wave) + 22 * s**3
        pitch, roll = -3 + 2 * np.sin(wave), 1.0 * np.sin(2 * wave)
    else:
        x, y, height = 12.6 + 22.0 * s, -0.1 + 0.25 * np.sin(wave), 1.45 + 0.12 * np.sin(2 * wave)
        yaw = 48 * np.cos(1.25 * wave) - 6
        pitch, roll = 9 * np.sin(1.5 * wave) - 3, 11 * np.sin(2 * wave)
    (cz, cy, cx), (sz, sy, sx) = np.cos(np.deg2rad((yaw, pitch, roll))), np.sin(np.deg2rad((yaw, pitch, roll)))
    poses = np.zeros((FRAMES, 4, 4))
    # The columns of Rz(yaw) Ry(pitch) Rx(roll) are forward, right, down; OpenCV's axes are right, down, forward.
    poses[:, :3, 2] = np.stack((cz * cy, sz * cy, -sy), axis=-1)
    poses[:, :3, 0] = np.stack((cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx), axis=-1)
    poses[:, :3, 1] = np.stack((cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx), axis=-1)
    poses[:, :3, 3] = np.stack((x, y, -height), axis=-1)
    poses[:, 3, 3] = 1
    return poses


def write_sample(
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    frames: int = FRAMES,
    size: tuple[int, int] = SAMPLE_SIZE,
    intrinsics: tuple[float, float, float, float] = SAMPLE_INTRINSICS,
    threads: int | None = None,
) -> None:
    """Write the sample scene in TartanAir V1's layout: by default 48 frames of depth and pictures, and their poses.

    Each of ``Easy/P000`` and ``Hard/P001`` gets ``depth_left/######_left_depth.npy`` (H, W) float32 planar metres with
    ``SKY_DEPTH`` for the sky, ``image_left/######_left.png``, and ``pose_left.txt``. The last has one line per frame,
    ``tx ty tz qx qy qz qw``: the camera body (x forward, y right, z down) in the NED world, in metres. The bytes are
    the same on every call. Everything is written next to ``root`` and renamed at the end, so files of an interrupted
    call never count as a sample. A finished sample is not changed, even if it has another number of frames.

    Args:
        root: the folder to create; it may exist if it is empty or holds this version of the sample.
        progress: called with frames done and frames in total, before the first frame and after each.
        frames: how many of the 24 of each sequence, the first ones.
        size: (H, W) of a frame in pixels.
        intrinsics: fx, fy, cx, cy of the camera in pixels, for that size.
        threads: number of threads that render; None: the default of ThreadPoolExecutor.

    Raises:
        SourceError: ``root`` holds something else, or cannot be written.
    """
    root = Path(root)
    if _finished(root):
        return
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise SourceError(
            f"hospital sample: {root}: expected no folder, an empty one or one with this version of the sample, "
            "got other content; remove it or name another folder"
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as beside:
            unfinished = Path(beside) / root.name
            _write_frames(unfinished, progress, frames, size, intrinsics, threads)
            (unfinished / "README.txt").write_text(_readme(frames, intrinsics), encoding="utf-8")
            try:
                unfinished.replace(root)
            except OSError:  # another process may have finished the same sample first
                if not _finished(root):
                    raise
    except OSError as error:
        raise SourceError(
            f"hospital sample: cannot write {root}: {error}; free space or name another folder"
        ) from error


def _finished(root: Path) -> bool:
    readme = root / "README.txt"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(_MARKER + "\n")


def _write_frames(
    root: Path,
    progress: Callable[[int, int], None] | None,
    frames: int,
    size: tuple[int, int],
    intrinsics: tuple[float, float, float, float],
    threads: int | None = None,
) -> None:
    _LOG.info("rendering the built-in scene, %d frames of %d×%d (once)", len(SEQUENCES) * frames, size[1], size[0])
    hospital = scene()
    with announced("the renderer", 10):
        cast(hospital, (0, 0, 0), (1, 0, 0))
    jobs = []
    for sequence in SEQUENCES:
        folder, poses = root / sequence, camera_poses(sequence)[:frames]
        for name in ("depth_left", "image_left"):
            (folder / name).mkdir(parents=True)
        _write_poses(folder / "pose_left.txt", poses)
        jobs += [(folder, number, pose) for number, pose in enumerate(poses)]

    def write_frame(job: tuple[Path, int, NDArray[np.float64]]) -> None:
        folder, number, pose = job
        depth, rgb = render(hospital, pose, intrinsics, size)
        np.save(folder / "depth_left" / f"{number:06d}_left_depth.npy", depth)
        Image.fromarray(rgb).save(folder / "image_left" / f"{number:06d}_left.png", compress_level=1)

    with ThreadPoolExecutor(threads) as pool:
        try:
            if progress is not None:
                progress(0, len(jobs))
            for done, _ in enumerate(pool.map(write_frame, jobs), start=1):
                if progress is not None:
                    progress(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupted call does not render the rest first


def _write_poses(path: Path, poses: NDArray[np.float64]) -> None:
    """Write TartanAir's pose file: translation and unit quaternion (x, y, z, w) of the body in the NED world."""
    rows = []
    for pose in poses:
        body = pose[:3, (2, 0, 1)]  # forward, right, down
        w = np.sqrt(1 + np.trace(body)) / 2  # the walks turn by less than 180°, so w > 0
        xyz = np.array((body[2, 1] - body[1, 2], body[0, 2] - body[2, 0], body[1, 0] - body[0, 1])) / (4 * w)
        rows.append(np.concatenate((pose[:3, 3], xyz, (w,))))
    np.savetxt(path, rows, fmt="%.12f")


def _readme(frames: int, intrinsics: tuple[float, float, float, float]) -> str:
    return (
        f"{_MARKER}\n\n"
        "A ray-cast hospital corridor, made by depthvar (precompute demo) in the file layout of TartanAir V1.\n"
        "It is synthetic and not part of TartanAir.\n\n"
        f"Easy/P000, Hard/P001: {frames} frames each.\n"
        f"depth_left/*.npy: float32 planar depth in metres; the sky is {SKY_DEPTH:.0f}.\n"
        "image_left/*.png: the picture, by one ray through the centre of each pixel.\n"
        "pose_left.txt: tx ty tz qx qy qz qw, a line a frame: the camera (x forward, y right, z down) in a NED world.\n"
        f"fx, fy, cx, cy = {', '.join(f'{value:g}' for value in intrinsics)}; integer pixel centres.\n"
    )
