"""The ray caster against closed forms, a brute-force twin, and its own symmetries."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from depthvar.datasets.hospital.raycast import BOX, CYLINDER, ELLIPSOID, Scene, build_scene, cast

seeds = st.integers(0, 2**32 - 1)


def one(shape: int, centre: object = (0.0, 0.0, 0.0), axes: object = None) -> Scene:
    return build_scene([shape], [centre], [np.eye(3) if axes is None else axes], [0])


def rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return q * np.sign(np.linalg.det(q))


def random_scene(rng: np.random.Generator, count: int) -> Scene:
    axes = np.array([rotation(rng) * rng.uniform(0.02, 1.5, 3) for _ in range(count)])
    return build_scene(rng.integers(0, 3, count), rng.uniform(-6, 6, (count, 3)), axes, np.arange(count))


def test_a_face_is_a_plane_of_constant_planar_depth() -> None:
    wall = one(BOX, (0, 0, 7.5), np.diag((50, 50, 0.5)))
    v, u = np.mgrid[-1:1:9j, -1:1:11j]
    rays = np.stack((u, v, np.ones_like(u)), axis=-1)
    t, surface, normal = cast(wall, np.zeros(3), rays)
    assert t.shape == (9, 11)
    np.testing.assert_allclose(t, 7.0, rtol=1e-14)
    assert (surface == 0).all()
    np.testing.assert_array_equal(normal, np.broadcast_to((0, 0, -1), rays.shape))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_sphere_is_hit_where_the_quadratic_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centre, radius, rays = rng.normal(size=3) * 3, rng.uniform(0.1, 2), rng.normal(size=(200, 3))
    t, surface, normal = cast(one(ELLIPSOID, centre, radius * np.eye(3)), np.zeros(3), rays)
    for ray, got, index, out in zip(rays, t, surface, normal, strict=True):
        roots = np.roots((ray @ ray, -2 * ray @ centre, centre @ centre - radius**2))
        ahead = roots.real[(np.abs(roots.imag) < 1e-12) & (roots.real > 0)]
        if ahead.size == 0:
            assert (got, index) == (np.inf, -1)
            assert not out.any()
        else:
            np.testing.assert_allclose(got, ahead.min(), rtol=1e-6)
            np.testing.assert_allclose(out, (got * ray - centre) / radius, atol=1e-8)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_a_hit_lies_on_the_surface_and_nothing_lies_before_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(0, 3))
    axes, centre = rotation(rng) * rng.uniform(0.05, 2, 3), rng.normal(size=3)
    origin = rng.normal(size=3) * 4
    rays = centre - origin + rng.normal(size=(100, 3))
    t, _, _ = cast(one(shape, centre, axes), origin, rays)

    def gauge(reach: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far out of the unit shape: below 1 inside, 1 on the surface."""
        q = np.abs((origin + reach[:, None] * rays - centre) @ np.linalg.inv(axes).T)
        if shape == BOX:
            return q.max(-1)
        return np.linalg.norm(q, axis=-1) if shape == ELLIPSOID else np.maximum(np.hypot(q[:, 0], q[:, 1]), q[:, 2])

    hit = np.isfinite(t)
    reach = np.where(hit, t, 10.0)
    np.testing.assert_allclose(gauge(reach)[hit], 1.0, atol=1e-7)
    outside = gauge(np.zeros(len(rays)))[0] > 1
    for part in np.linspace(0, 1, 40, endpoint=False):
        before = gauge(part * reach)
        assert (before > 1 - 1e-7).all() if outside else (before < 1 + 1e-7).all()


def test_the_cylinder_has_sides_and_caps() -> None:
    pole = one(CYLINDER, (0, 0, 0), np.diag((0.01, 0.01, 1)))
    origins = np.array([(-5, 0, 0.5), (-5, 0.0101, 0.5), (0.005, 0, -3), (-5, 0, 1.001), (0, 0, 0)])
    rays = np.array([(1, 0, 0), (1, 0, 0), (0, 0, 2), (1, 0, 0), (0, 3, 0)], float)
    t, _, normal = cast(pole, origins, rays)
    np.testing.assert_allclose(t, (4.99, np.inf, 1.0, np.inf, 0.01 / 3), rtol=1e-12)
    np.testing.assert_allclose(normal, [(-1, 0, 0), (0, 0, 0), (0, 0, -1), (0, 0, 0), (0, 1, 0)], atol=1e-12)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_turning_the_world_turns_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, shift, centre, size = rotation(rng), rng.normal(size=3), rng.normal(size=3), rng.uniform(0.1, 2, 3)
    origin = rng.normal(size=3) * 3
    rays = centre - origin + rng.normal(size=(60, 3))
    for shape in (BOX, CYLINDER, ELLIPSOID):
        t, _, normal = cast(one(shape, centre, np.diag(size)), origin, rays)
        moved = one(shape, turn @ centre + shift, turn * size)
        t_moved, _, normal_moved = cast(moved, turn @ origin + shift, rays @ turn.T)
        np.testing.assert_array_equal(np.isfinite(t), np.isfinite(t_moved))
        np.testing.assert_allclose(t_moved, t, rtol=1e-9)
        assert np.mean(np.abs(normal_moved - normal @ turn.T).max(-1) < 1e-6) > 0.97  # an edge may tip over


@given(seeds, st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_the_tree_finds_what_brute_force_finds(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, count)
    origin = rng.uniform(-6, 6, 3)
    rays = np.concatenate((rng.normal(size=(200, 3)), np.eye(3), -np.eye(3)))
    t, surface, normal = cast(scene, origin, rays)
    alone = [
        cast(build_scene(scene.shape[[i]], scene.centre[[i]], scene.axes[[i]], [0]), origin, rays) for i in range(count)
    ]
    reach = np.array([item[0] for item in alone])
    np.testing.assert_array_equal(t, reach.min(0))
    np.testing.assert_array_equal(surface, np.where(np.isfinite(t), reach.argmin(0), -1))
    chosen = np.array([item[2] for item in alone])[reach.argmin(0), np.arange(len(rays))]
    np.testing.assert_array_equal(normal, chosen)
    np.testing.assert_allclose(np.linalg.norm(normal[surface >= 0], axis=-1), 1, rtol=1e-12)


def test_t_counts_in_lengths_of_the_direction_up_to_a_limit() -> None:
    rng = np.random.default_rng(0)
    scene, rays = random_scene(rng, 30), rng.normal(size=(5, 4, 3))
    t, surface, _ = cast(scene, np.zeros(3), rays)
    doubled, same, _ = cast(scene, np.zeros((4, 3)), 2 * rays)
    np.testing.assert_array_equal(doubled * 2, t)
    np.testing.assert_array_equal(same, surface)
    assert np.isfinite(t).any()
    half = float(np.median(t[np.isfinite(t)]))
    near, kept, _ = cast(scene, np.zeros(3), rays, limit=half)
    np.testing.assert_array_equal(near, np.where(t < half, t, np.inf))
    np.testing.assert_array_equal(kept, np.where(t < half, surface, -1))
    assert 0 < (kept >= 0).sum() < (surface >= 0).sum()
