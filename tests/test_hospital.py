"""The sample scene: what its pictures hold, how it lies on disk, and that an unfinished one never counts."""

import errno
import os
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.hospital import write as hospital
from depthvar.datasets.hospital.raycast import cast
from depthvar.datasets.hospital.render import SKY_DEPTH, render
from depthvar.datasets.hospital.scene import MATERIALS, scene

SMALL = (60, 80)
INTRINSICS = (40.0, 40.0, 40.0, 30.0)
SCENE = scene()
THIN = ("rail", "steel", "frame")  # hand rails, drip stands, bed rails, mullions: a few centimetres wide


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def write_small(root: Path, progress: object = None) -> None:
    hospital.write_sample(root, progress, 2, SMALL, INTRINSICS)  # type: ignore[arg-type]


def matrix(x: float, y: float, z: float, w: float) -> NDArray[np.float64]:
    """Rotation of a unit quaternion, column by column from v + 2w (q × v) + 2 q × (q × v)."""
    q = np.array((x, y, z))
    return np.stack([v + 2 * w * np.cross(q, v) + 2 * np.cross(q, np.cross(q, v)) for v in np.eye(3)], axis=-1)


@pytest.fixture(scope="module")
def frames() -> dict[str, list[NDArray[np.float32]]]:
    return {
        sequence: [render(SCENE, pose, INTRINSICS, SMALL)[0] for pose in hospital.camera_poses(sequence)]
        for sequence in hospital.SEQUENCES
    }


def test_the_walks_are_smooth_rigid_and_hard_is_harder() -> None:
    steps, turns, tilts = [], [], []
    for sequence in hospital.SEQUENCES:
        poses = hospital.camera_poses(sequence)
        assert poses.shape == (24, 4, 4)
        turn = poses[:, :3, :3]
        np.testing.assert_allclose(turn @ turn.swapaxes(1, 2), np.broadcast_to(np.eye(3), turn.shape), atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(turn), 1, rtol=1e-12)
        relative = turn[:-1].swapaxes(1, 2) @ turn[1:]
        turns.append(np.rad2deg(np.arccos((np.trace(relative, axis1=1, axis2=2) - 1) / 2)).max())
        steps.append(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1).max())
        tilts.append(np.abs(turn[:, 2, 0]).max())
        assert (turn[:, 2, 1] > 0.9).all()  # the camera's y points down, and so does the world's z
    assert steps[0] < steps[1] < 1.2
    assert turns[0] < turns[1] < 25
    assert 0 < tilts[0] < 0.1 < tilts[1]
    with pytest.raises(ParameterError, match=r"expected one of Easy/P000, Hard/P001, got 'Easy/P007'"):
        hospital.camera_poses("Easy/P007")


def test_depth_is_finite_and_above_zero_and_the_camera_is_never_inside(
    frames: dict[str, list[NDArray[np.float32]]],
) -> None:
    for sequence, depths in frames.items():
        for depth in depths:
            assert depth.dtype == np.float32
            assert np.isfinite(depth).all()
            assert depth.min() > 0.05
        origins = hospital.camera_poses(sequence)[:, :3, 3]
        around = np.random.default_rng(0).normal(size=(400, 1, 3))
        around /= np.linalg.norm(around, axis=-1, keepdims=True)
        t, surface, normal = cast(SCENE, origins, around)
        assert t.min() > 0.2
        hit = surface >= 0  # seen from outside, a normal looks back at the camera
        assert ((np.broadcast_to(around, normal.shape) * normal).sum(-1)[hit] <= 0).all()


def test_every_sequence_has_sky_a_far_outside_and_thin_things(frames: dict[str, list[NDArray[np.float32]]]) -> None:
    thin = [MATERIALS.index(name) for name in THIN]
    for sequence, depths in frames.items():
        depth = np.stack(depths)
        sky = depth == SKY_DEPTH
        assert sky.mean() > 5e-4
        assert ((depth > 80) & ~sky).mean() > 1e-3
        assert depth[~sky].max() < 450
        assert (depth < 10).mean() > 0.5
        pose = hospital.camera_poses(sequence)[12]
        v, u = np.indices(hospital.SAMPLE_SIZE)
        fx, fy, cx, cy = hospital.SAMPLE_INTRINSICS
        rays = np.stack(((u - cx) / fx, (v - cy) / fy, np.ones(u.shape)), axis=-1) @ pose[:3, :3].T
        surface = cast(SCENE, pose[:3, 3], rays)[1]
        is_thin = np.isin(SCENE.material[surface], thin) & (surface >= 0)
        alone = is_thin[:, 1:-1] & ~is_thin[:, :-2] & ~is_thin[:, 2:]
        assert is_thin.mean() > 0.005
        assert alone.sum() > 50  # one pixel wide: they alias


def test_depth_is_planar_and_pixel_centres_are_integers() -> None:
    pose = hospital.camera_poses("Easy/P000")[7]
    depth, _ = render(SCENE, pose, INTRINSICS, SMALL)
    for v, u in ((0, 0), (30, 40), (59, 79), (12, 55)):
        ray = pose[:3, :3] @ ((u - 40) / 40, (v - 30) / 40, 1)
        point = pose[:3, 3] + cast(SCENE, pose[:3, 3], ray)[0] * ray
        assert depth[v, u] == pytest.approx((point - pose[:3, 3]) @ pose[:3, 2], rel=1e-6)


@pytest.mark.parametrize(("sequence", "least"), [("Easy/P000", 0.85), ("Hard/P001", 0.75)])
def test_the_points_of_a_frame_lie_in_the_next(
    sequence: str, least: float, frames: dict[str, list[NDArray[np.float32]]]
) -> None:
    poses, depths = hospital.camera_poses(sequence), frames[sequence]
    v, u = np.indices(SMALL)
    agree, seen = 0, 0
    for k in range(23):
        rays = np.stack(((u - 40) / 40, (v - 30) / 40, np.ones(SMALL)), axis=-1)[depths[k] < 80]
        world = rays * depths[k][depths[k] < 80][:, None] @ poses[k, :3, :3].T + poses[k, :3, 3]
        x, y, z = ((world - poses[k + 1, :3, 3]) @ poses[k + 1, :3, :3]).T
        column, row = np.round(40 * x / z + 40), np.round(40 * y / z + 30)
        inside = (z > 0.1) & (column >= 0) & (column < 80) & (row >= 0) & (row < 60)
        there = depths[k + 1][row[inside].astype(int), column[inside].astype(int)]
        agree += int((np.abs(there - z[inside]) < 0.06 * z[inside]).sum())
        seen += int(inside.sum())
    assert seen > 23 * 60 * 80 * 0.4
    assert agree / seen > least


def test_the_picture_is_textured_and_lamps_are_white() -> None:
    depth, rgb = render(SCENE, hospital.camera_poses("Hard/P001")[0], INTRINSICS, SMALL)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (*SMALL, 3)
    assert len(np.unique(rgb.reshape(-1, 3), axis=0)) > 500
    assert rgb.max() > 240
    sky = rgb[depth == SKY_DEPTH].mean(0)
    assert sky[2] > sky[0]  # blue


def test_a_sample_has_tartanairs_layout_and_is_the_same_every_time(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_small(tmp_path / "deep" / "one", lambda done, total: calls.append((done, total)))
    write_small(tmp_path / "two")
    assert calls == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert files(tmp_path / "deep" / "one") == files(tmp_path / "two")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["one"]
    assert sorted(files(tmp_path / "two")) == sorted(
        ["README.txt"]
        + [f"{s}/pose_left.txt" for s in hospital.SEQUENCES]
        + [f"{s}/depth_left/{n:06d}_left_depth.npy" for s in hospital.SEQUENCES for n in range(2)]
        + [f"{s}/image_left/{n:06d}_left.png" for s in hospital.SEQUENCES for n in range(2)]
    )
    pose = hospital.camera_poses("Hard/P001")[1]
    depth, rgb = render(SCENE, pose, INTRINSICS, SMALL)
    stored = np.load(tmp_path / "two/Hard/P001/depth_left/000001_left_depth.npy")
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, depth)
    np.testing.assert_array_equal(Image.open(tmp_path / "two/Hard/P001/image_left/000001_left.png"), rgb)


@pytest.mark.parametrize("sequence", hospital.SEQUENCES)
def test_the_pose_file_gives_the_poses_back(sequence: str, tmp_path: Path) -> None:
    poses = hospital.camera_poses(sequence)
    hospital.write_sample(tmp_path / "sample", size=(2, 2), intrinsics=INTRINSICS)
    rows = np.loadtxt(tmp_path / "sample" / sequence / "pose_left.txt")
    assert rows.shape == (24, 7)
    for pose, row in zip(poses, rows, strict=True):
        np.testing.assert_allclose(np.linalg.norm(row[3:]), 1, atol=1e-11)
        body = matrix(*row[3:])  # forward, right, down
        np.testing.assert_allclose(body[:, [1, 2, 0]], pose[:3, :3], atol=1e-10)
        np.testing.assert_allclose(row[:3], pose[:3, 3], atol=1e-10)


def test_a_finished_sample_is_left_alone(tmp_path: Path) -> None:
    write_small(tmp_path / "sample")
    (tmp_path / "sample/Easy/P000/pose_left.txt").write_text("edited")
    write_small(tmp_path / "sample", lambda done, total: pytest.fail("rendered again"))
    hospital.write_sample(tmp_path / "sample", lambda done, total: pytest.fail("rendered again"))
    assert (tmp_path / "sample/Easy/P000/pose_left.txt").read_text() == "edited"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_nothing_that_counts(error: type[BaseException], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise error

    with pytest.raises(error):
        write_small(tmp_path / "sample", stop)
    assert list(tmp_path.iterdir()) == []
    write_small(tmp_path / "sample")
    assert len(files(tmp_path / "sample")) == 11


def test_an_interrupt_does_not_wait_for_the_frames_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[object] = []

    def render(*given: object) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        rendered.append(given)
        time.sleep(0.1)  # 48 of them outlast any pause of the thread that is interrupted
        return np.ones((2, 2), np.float32), np.ones((2, 2, 3), np.uint8)

    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    monkeypatch.setattr(hospital, "render", render)
    with pytest.raises(KeyboardInterrupt):
        hospital.write_sample(tmp_path / "sample", stop, threads=2)
    assert 0 < len(rendered) < 48


def test_what_happens_is_said_before_the_first_frame_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    happened: list[object] = []

    def render(*given: object) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        happened.append("rendered")
        return np.ones((2, 2), np.float32), np.ones((2, 2, 3), np.uint8)

    monkeypatch.setattr(hospital, "render", render)
    with caplog.at_level("INFO", logger="depthvar"):
        hospital.write_sample(
            tmp_path / "sample", lambda done, total: happened.append((done, total, caplog.messages[0])), 2, SMALL
        )
    said = "rendering the built-in scene, 4 frames of 80×60 (once)"
    assert happened[0] == (0, 4, said)
    assert happened[-1] == (4, 4, said)
    assert happened.count("rendered") == 4


def test_other_content_is_refused_and_kept(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "README.txt").write_text("depthvar hospital sample, version 0\n")
    with pytest.raises(SourceError, match=r"other: expected no folder.*got other content; remove it or name another"):
        hospital.write_sample(other)
    assert files(other) == {"README.txt": b"depthvar hospital sample, version 0\n"}
    with pytest.raises(SourceError, match="got other content"):
        hospital.write_sample(other / "README.txt")
    below = other / "README.txt" / "below"
    with pytest.raises(SourceError, match=rf"cannot write {below}: a file is in the place of a folder above it; name"):
        write_small(below)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x/.sample-123/0.npy")

    monkeypatch.setattr(np, "save", full)
    expected = f"cannot write {tmp_path}/sample: No space left on device; free space, or name another folder$"
    with pytest.raises(SourceError, match=expected):
        write_small(tmp_path / "sample")


def test_an_empty_folder_is_filled_and_a_rival_that_was_first_wins(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_small(tmp_path / "empty")
    written = files(tmp_path / "empty")
    assert len(written) == 11

    def rival(done: int, total: int) -> None:
        if done == 1:
            (tmp_path / "raced").mkdir()
            (tmp_path / "raced/README.txt").write_bytes(written["README.txt"])

    write_small(tmp_path / "raced", rival)
    assert list(files(tmp_path / "raced")) == ["README.txt"]
