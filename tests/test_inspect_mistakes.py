"""Each mistake that `inspect` knows, made on purpose on real depth; and its silence without one."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import inspect_mistakes as lab
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.datasets import open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import inspect
from depthvar.precompute.inspection.inspect import check
from depthvar.precompute.inspection.kind import check_kind
from depthvar.precompute.inspection.look import Look, Rule
from depthvar.precompute.inspection.planes import FLAT, plane_errors, votes
from depthvar.precompute.inspection.verdict import Verdict

MISTAKES = {mistake.name: mistake for mistake in lab.MISTAKES}


@pytest.fixture(scope="module")
def kinect() -> list[lab.Scene]:
    """Real frames of tests/data, without images."""
    return [scene for scenes in lab.real_scenes(lab.DATA).values() for scene in scenes]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered frames with images, of two sequences, on disk."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, frames=3)
    return folder


@pytest.fixture(scope="module")
def hospital(sample: Path) -> list[lab.Scene]:
    return lab.packaged_scenes(sample, frames=3)["hospital"]


def found(pairs: Sequence[tuple[Look, Rule]], names: Sequence[str]) -> list[Verdict]:
    return [each for each in check([look for look, _ in pairs], pairs[0][1]) if each.check in names]


def states(pairs: Sequence[tuple[Look, Rule]], names: Sequence[str]) -> set[str]:
    return {each.state for each in found(pairs, names)}


def test_the_real_frames_are_there(kinect: list[lab.Scene]) -> None:
    assert len(kinect) == 3


def test_right_frames_raise_no_alarm(kinect: list[lab.Scene], hospital: list[lab.Scene]) -> None:
    for scene in [*kinect, *hospital]:
        for variant in lab.variants(scene):
            verdicts = check([lab.right(variant)[0]], lab.right(variant)[1])
            assert [each for each in verdicts if each.state == "warning"] == [], variant.name


def test_right_frames_together_raise_no_alarm_and_are_told(hospital: list[lab.Scene]) -> None:
    verdicts = found([lab.right(scene) for scene in hospital], ["code", "distance", "disparity", "unit", "image"])
    assert {each.check: each.state for each in verdicts} == dict.fromkeys(
        ["code", "distance", "disparity", "unit", "image"], "ok"
    )


@pytest.mark.parametrize("name", [name for name in MISTAKES if not name.startswith("image")])
def test_a_mistake_is_found_in_a_frame(kinect: list[lab.Scene], name: str) -> None:
    mistake, scene = MISTAKES[name], kinect[0]
    pair = mistake.make(scene)
    assert pair is not None
    assert "warning" in states([pair], mistake.checks)
    assert states([lab.right(scene)], mistake.checks) <= {"ok", "untold"}


@pytest.mark.parametrize("name", [name for name in MISTAKES if name.startswith("image")])
def test_a_wrong_image_is_found_in_a_few_frames(hospital: list[lab.Scene], name: str) -> None:
    mistake = MISTAKES[name]
    pairs = [pair for scene in hospital if (pair := mistake.make(scene)) is not None]
    assert len(pairs) == len(hospital)
    assert "warning" in states(pairs, mistake.checks)


def test_images_of_other_frames_are_found(hospital: list[lab.Scene]) -> None:
    (verdict,) = found([lab.right(scene) for scene in lab.shifted(hospital, 2)], ["image"])
    assert verdict.state == "warning"
    assert verdict.text.endswith("the images belong to other frames: check [files] image and the numbers of the frames")


def test_the_images_of_the_next_frames_are_named(sample: Path, tmp_path: Path) -> None:
    shutil.copytree(sample, tmp_path, dirs_exist_ok=True)
    images = sorted(tmp_path.rglob("image_left/*.png"))
    contents = [path.read_bytes() for path in images]
    for path, content in zip(images, contents[1:] + contents[:1], strict=True):
        path.write_bytes(content)
    (warning,) = inspect(open_source("hospital-sample", tmp_path)).warnings
    assert re.search(r"; those of 1 frame earlier agree \(\d+\.\d\)$", warning)
    assert inspect(open_source("hospital-sample", sample)).warnings == ()


def test_a_mirrored_and_a_moved_image_are_named(hospital: list[lab.Scene]) -> None:
    for name, words in {"image mirrored": "is mirrored: turn it", "image moved by 24 columns": "register"}.items():
        (verdict,) = found([pair for scene in hospital if (pair := MISTAKES[name].make(scene))], ["image"])
        assert words in verdict.text
        if "moved" in name:
            assert "moved by about -24 columns and 0 rows" in verdict.text


def test_sparse_depth_is_said_and_not_guessed(kinect: list[lab.Scene]) -> None:
    """Every 40th pixel, as LiDAR may have: no window has enough of them."""
    scene = kinect[0]
    sparse = np.zeros_like(scene.z)
    sparse[::8, ::5] = scene.z[::8, ::5]
    pair = lab.right(lab.replace(scene, z=sparse))
    assert states([pair], ["distance"]) == {"untold"}
    assert not [each for each in check([pair[0]], pair[1]) if each.state == "warning"]


def test_depth_taken_for_disparity_is_found(kinect: list[lab.Scene]) -> None:
    look, rule = lab.disparity(kinect[0])
    (verdict,) = check_kind([look], rule._replace(kind="disparity"))
    assert verdict.state == "warning"
    assert verdict.text.endswith('planes only if it is depth along the optical axis: set [depth] kind = "z"')
    assert check_kind([lab.right(kinect[0])[0]], rule._replace(kind="disparity"))[0].state == "ok"


def test_scene_units_have_no_unit_to_check(kinect: list[lab.Scene]) -> None:
    look, rule = MISTAKES["millimetres taken for metres"].make(kinect[0]) or (None, None)
    assert look is not None
    assert rule is not None
    assert states([(look, rule._replace(metric=False))], ["unit"]) == {"untold"}


def test_declared_sky_is_no_wall(kinect: list[lab.Scene]) -> None:
    look, rule = lab.sky(kinect[0])
    far = look.depth == look.depth.max()
    declared = lab.replace(look, valid=look.valid & ~far, far=far)
    assert states([(look, rule)], ["sky"]) == {"warning"}
    assert states([(declared, rule)], ["sky", "repeated value"]) == {"ok"}


def test_a_clipped_far_plane_is_found_where_frames_differ(hospital: list[lab.Scene]) -> None:
    """At 8 m, in several frames: a wall that is seen from two places has two depths."""
    clipped = [lab.replace(scene, z=np.minimum(scene.z, 8), far=scene.far & False) for scene in hospital]
    (verdict,) = found([lab.right(scene) for scene in clipped], ["sky", "repeated value"])
    assert verdict.state == "warning"
    assert "8 m in " in verdict.text


def test_the_same_map_for_every_frame_is_found(hospital: list[lab.Scene]) -> None:
    look, rule = lab.right(hospital[0])
    assert states([(look, rule)] * 3, ["constant map"]) == {"warning"}
    assert states([(look, rule)] * 2, ["constant map"]) == set()


READINGS = np.array([(1, 0), (1, 1)])  # as it is; as if it were the distance along the ray
planes = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(0.8, 2), st.floats(0.5, 1.5))  # all in view


def plane(a: float, b: float, c: float, f: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log z of the plane a x + b y + c z = 4, 120×160, and log of distance / z, at a focal length of f·160."""
    rows, columns = np.mgrid[:120, :160]
    x, y = (columns - 79.5) / (f * 160), (rows - 59.5) / (f * 160)
    return -np.log(np.maximum(a * x + b * y + c, 0.01) / 4), 0.5 * np.log(1 + x * x + y * y)


@pytest.mark.parametrize("radius", [0.6, 1.0, 1.5, 3.0, -1.0, -0.5])
def test_curved_surfaces_do_not_look_like_distances(radius: float) -> None:
    """The inside (radius > 0) or outside of many balls; radius 1 is a sphere around the camera, if there were one."""
    rows, columns = np.mgrid[:480, :640]
    x, y = (columns - 319.5) / 500, (rows - 239.5) / 500
    u, v = x - np.round(x / 0.25) * 0.25, y - np.round(y / 0.25) * 0.25  # from the middle of a ball
    z = 3 * (1 - (u * u + v * v) / (2 * radius))
    scene = lab.Scene("balls", z, z < 0, (500.0, 500.0, 319.5, 239.5), 1, None)
    pair = lab.right(scene)
    assert "warning" not in states([pair], ["distance"])


@settings(max_examples=40)
@given(planes)
def test_any_plane_is_a_plane_in_inverse_depth_and_not_along_the_ray(
    numbers: tuple[float, float, float, float],
) -> None:
    log_z, stretch = plane(*numbers)
    errors, _ = plane_errors([log_z, stretch], READINGS, np.ones(log_z.shape, bool))
    assert np.all(errors[:, 0] < 1e-6)  # of a mean of log z over a block
    right, wrong = votes(errors).tolist()
    assert wrong == 0
    assert right > 0 or numbers[3] > 1  # a narrow view hardly bends it


@settings(max_examples=40)
@given(st.tuples(*[st.floats(-0.9, 0.9)] * 2, st.floats(0.3, 2), st.floats(0.5, 1.2)), st.floats(4, 16))
def test_a_plane_that_a_largest_depth_cuts_is_still_one(
    numbers: tuple[float, float, float, float], most: float
) -> None:
    log_z, stretch = plane(*numbers)
    errors, _ = plane_errors([log_z, stretch], READINGS, np.exp(log_z) < most)
    assert votes(errors)[1] == 0


@settings(max_examples=40)
@given(planes, st.floats(0, 0.003), st.integers(0, 2**32 - 1))
def test_noise_does_not_turn_the_verdict(numbers: tuple[float, float, float, float], noise: float, seed: int) -> None:
    log_z, stretch = plane(*numbers)
    known = np.ones(log_z.shape, bool)
    log_z = log_z + np.random.default_rng(seed).normal(0, noise, log_z.shape)
    right, wrong = votes(plane_errors([log_z, stretch], READINGS, known)[0]).tolist()
    assert wrong <= max(1, right // 4)


def test_a_fault_in_a_window_is_no_plane() -> None:
    log_z, stretch = plane(0.2, 0.1, 1.0, 0.8)
    log_z[:, 80:] += 0.5
    errors, _ = plane_errors([log_z, stretch], READINGS, np.ones(log_z.shape, bool))
    across = errors[(errors > FLAT**2).all(1)]
    assert len(across) > 0
    assert len(across) < len(errors)


def test_the_results_of_the_docs_have_no_false_alarm_and_no_more_misses_than_are_known() -> None:
    results = json.loads((Path(lab.__file__).parent / "results/others_data/inspect_mistakes.json").read_text())
    assert results["right"]["false alarms"] == results["right"]["false alarms of data sets"] == 0
    assert set(results["mistakes"]) >= set(MISTAKES)
