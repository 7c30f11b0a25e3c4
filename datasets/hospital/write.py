"""The built-in sample: a hospital corridor, ray-cast and written in TartanAir V1's own file layout and world (NED)."""

import errno
import logging
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from depthvar.datasets.compiled import announced
from depthvar.datasets.errors import ParameterError, SourceError

from .raycast import Floats, cast
from .render import SAMPLE_INTRINSICS, SAMPLE_SIZE, SKY_DEPTH, render
from .scene import scene

FRAMES = 24  # in each sequence
SEQUENCES = ("Easy/P000", "Hard/P001")
_MARKER = "depthvar hospital sample, version 1"
_README = f"""{_MARKER}

A ray-cast hospital corridor, made by depthvar (precompute demo) in the file layout of TartanAir V1.
It is synthetic and not part of TartanAir.

{", ".join(SEQUENCES)}: {{frames}} frames each.
depth_left/*.npy: float32 planar depth in metres; the sky is {SKY_DEPTH:.0f}.
image_left/*.png: the picture, by one ray through the centre of each pixel.
pose_left.txt: tx ty tz qx qy qz qw, a line a frame: the camera (x forward, y right, z down) in a NED world.
fx, fy, cx, cy = {{camera}}; integer pixel centres.
"""


def camera_poses(sequence: str) -> Floats:
    """Return the walk of one of ``SEQUENCES``: (24, 4, 4), from a camera with x right, y down, z forward to the world.

    Easy strolls down the first third of the corridor and looks into the rooms; Hard hurries on from there, with more
    yaw, pitch and roll. An unknown sequence raises ParameterError.
    """
    s = np.linspace(0, 1, FRAMES)
    wave = 2 * np.pi * s
    if sequence == SEQUENCES[0]:
        x, y, height = 0.4 + 11.4 * s, -0.15 + 0.12 * np.cos(wave), 1.5 + 0.02 * np.sin(5 * wave)
        yaw = -36 * np.sin(1.5 * wave) + 22 * s**3
        pitch, roll = -3 + 2 * np.sin(wave), 1.0 * np.sin(2 * wave)
    elif sequence == SEQUENCES[1]:
        x, y, height = 12.6 + 22.0 * s, -0.1 + 0.25 * np.sin(wave), 1.45 + 0.12 * np.sin(2 * wave)
        yaw = 48 * np.cos(1.25 * wave) - 6
        pitch, roll = 9 * np.sin(1.5 * wave) - 3, 11 * np.sin(2 * wave)
    else:
        raise ParameterError(f"camera_poses: expected one of {', '.join(SEQUENCES)}, got {sequence!r}")
    (cz, cy, cx), (sz, sy, sx) = np.cos(np.deg2rad((yaw, pitch, roll))), np.sin(np.deg2rad((yaw, pitch, roll)))
    poses = np.zeros((FRAMES, 4, 4))
    # The columns of Rz(yaw) Ry(pitch) Rx(roll) are forward, right, down; OpenCV's axes are right, down, forward.
    poses[:, :3, 2] = np.stack((cz * cy, sz * cy, -sy), axis=-1)
    poses[:, :3, 0] = np.stack((cz * sy * sx - sz * cx, sz * sy * sx + cz * cx, cy * sx), axis=-1)
    poses[:, :3, 1] = np.stack((cz * sy * cx + sz * sx, sz * sy * cx - cz * sx, cy * cx), axis=-1)
    poses[:, :, 3] = np.stack((x, y, -height, np.ones(FRAMES)), axis=-1)
    return poses


def write_sample(
    root: Path,
    progress: Callable[[int, int], None] | None = None,
    frames: int = FRAMES,
    size: tuple[int, int] = SAMPLE_SIZE,
    intrinsics: tuple[float, float, float, float] = SAMPLE_INTRINSICS,
    threads: int | None = None,
) -> None:
    """Write the sample scene in TartanAir V1's layout, the same bytes on every call, unless it is there already.

    Files of an interrupted call never count as a sample. A finished sample may have another number of frames.

    Args:
        root: the folder to make; it may exist if it is empty or holds this version of the sample.
        progress: called with frames done and frames in total, before the first frame and after each.
        frames: how many of the 24 of each sequence, the first ones.
        size, intrinsics: (H, W) of a frame, and fx, fy, cx, cy of the camera, in pixels.
        threads: that render; None: as many as ThreadPoolExecutor starts.

    Raises:
        SourceError: ``root`` holds something else, or cannot be written.
    """
    if _is_finished(Path(root)):
        return
    note, report = "rendering the built-in scene, %d frames of %d×%d (once)", progress or (lambda done, total: None)
    with _finished_at_once(Path(root)) as folder, ThreadPoolExecutor(threads) as pool:
        poses = {folder / name: camera_poses(name)[:frames] for name in SEQUENCES}
        jobs = [(sequence, number, pose) for sequence in poses for number, pose in enumerate(poses[sequence])]
        logging.getLogger("depthvar").info(note, len(jobs), size[1], size[0])
        hospital = scene()
        with announced("the renderer", 10):
            cast(hospital, (0, 0, 0), (1, 0, 0))
        for sequence in poses:
            (sequence / "depth_left").mkdir(parents=True)
            (sequence / "image_left").mkdir()
            _write_poses(sequence / "pose_left.txt", poses[sequence])
        text = _README.format(frames=frames, camera=", ".join(f"{value:g}" for value in intrinsics))
        (folder / "README.txt").write_text(text, encoding="utf-8")

        def write_frame(job: tuple[Path, int, Floats]) -> None:
            sequence, number, pose = job
            depth, rgb = render(hospital, pose, intrinsics, size)
            np.save(sequence / f"depth_left/{number:06d}_left_depth.npy", depth)
            Image.fromarray(rgb).save(sequence / f"image_left/{number:06d}_left.png", compress_level=1)

        try:
            report(0, len(jobs))
            for done, _ in enumerate(pool.map(write_frame, jobs), start=1):
                report(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)  # an interrupted call does not render the rest first


def _is_finished(root: Path) -> bool:
    readme = root / "README.txt"
    return readme.is_file() and readme.read_text(encoding="utf-8", errors="replace").startswith(_MARKER + "\n")


@contextmanager
def _finished_at_once(root: Path) -> Iterator[Path]:
    """Yield a folder to fill. It is renamed to ``root`` at the end, so an interrupted call leaves no sample."""
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        expected = "expected no folder, an empty one or one with this version of the sample"
        raise SourceError(f"hospital sample: {root}: {expected}, got other content; remove it or name another folder")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
            yield Path(folder) / root.name
            try:
                (Path(folder) / root.name).replace(root)
            except OSError:  # another process may have finished the same sample first
                if not _is_finished(root):
                    raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        way_out = "free space, or name another folder" if full else "name another folder"
        below_file = error.errno in (errno.EEXIST, errno.ENOTDIR) and not root.parent.is_dir()
        reason = "a file is in the place of a folder above it" if below_file else error.strerror or error
        raise SourceError(f"hospital sample: cannot write {root}: {reason}; {way_out}") from error


def _write_poses(path: Path, poses: Floats) -> None:
    """Write TartanAir's pose file: translation and unit quaternion (x, y, z, w) of the body in the NED world."""
    body = poses[:, :3, (2, 0, 1)]  # forward, right, down
    w = np.sqrt(1 + np.trace(body, axis1=1, axis2=2)) / 2  # the walks turn by less than 180°, so w > 0
    skew = (body - body.swapaxes(1, 2)) / (4 * w[:, None, None])
    np.savetxt(path, np.column_stack((poses[:, :3, 3], skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0], w)), fmt="%.12f")
