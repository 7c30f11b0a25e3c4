"""Exact first hits of rays with a scene of boxes, cylinders and ellipsoids; arrays in, arrays out.

Every primitive is a unit shape (cube ``[-1, 1]³``, cylinder of radius 1 with ``|z| <= 1``, ball of radius 1) under an
affine map ``p = centre + axes @ q``, so one ray transform serves all three shapes, and the parameter ``t`` of a hit is
the same in both frames. A binary tree of bounding boxes keeps the cost of a ray near the logarithm of their number.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.compiled import njit

BOX, CYLINDER, ELLIPSOID = 0, 1, 2
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Scene(NamedTuple):
    """Primitives and the tree over them, made by :func:`build_scene`; lengths in metres."""

    shape: Ints  # (N,) BOX, CYLINDER (along its local z, with caps) or ELLIPSOID
    centre: Floats  # (N, 3)
    axes: Floats  # (N, 3, 3), the columns are the half-axes in the world
    material: Ints  # (N,) a label for the caller; the caster does not read it
    to_local: Floats  # (N, 3, 3), the inverses of axes
    bounds: Floats  # (M, 6), x0 y0 z0 x1 y1 z1 of each node; a first child follows its node
    link: Ints  # (M, 2), a node's second child and the axis of the split; of a leaf its primitive and -1


def build_scene(shape: ArrayLike, centre: ArrayLike, axes: ArrayLike, material: ArrayLike) -> Scene:
    """Return a scene that can be cast, of N >= 1 primitives; the arguments are those of :class:`Scene`."""
    kinds, labels = np.asarray(shape, np.int64), np.asarray(material, np.int64)
    centres, half = np.asarray(centre, np.float64), np.asarray(axes, np.float64)
    round_extent = np.linalg.norm(half[..., :2], axis=-1) + np.abs(half[..., 2])
    extent = np.choose(kinds[:, None], (np.abs(half).sum(-1), round_extent, np.linalg.norm(half, axis=-1)))
    extent = extent * (1 + 1e-9) + 1e-9  # padded against rounding
    inverse = np.linalg.inv(half).astype(np.float64, copy=False)
    return Scene(kinds, centres, half, labels, inverse, *_tree(centres - extent, centres + extent))


def _tree(low: Floats, high: Floats) -> tuple[Floats, Ints]:
    """Return bounds and link of a tree over (N, 3) boxes; every node is cut where that costs least area."""
    bounds: list[Floats] = []
    link: list[tuple[int, int]] = []

    def costs(row: Ints) -> Floats:
        """Return number times area of the first 1, 2, … boxes of a row, but not of all."""
        x, y, z = (np.maximum.accumulate(high[row]) - np.minimum.accumulate(low[row]))[:-1].T
        return np.asarray((x * y + y * z + z * x) * np.arange(1, len(row)))

    def add(members: Ints) -> None:
        node = len(link)
        bounds.append(np.concatenate((low[members].min(0), high[members].max(0))))
        link.append((int(members[0]), -1))
        if len(members) > 1:
            rows = [members[np.argsort((low + high)[members, axis], kind="stable")] for axis in range(3)]
            cost = np.array([costs(row) + costs(row[::-1])[::-1] for row in rows])
            axis, cut = divmod(int(cost.argmin()), len(members) - 1)
            add(rows[axis][: cut + 1])
            link[node] = (len(link), axis)
            add(rows[axis][cut + 1 :])

    add(np.arange(len(low)))
    return np.array(bounds), np.array(link)


def cast(scene: Scene, origin: ArrayLike, directions: ArrayLike, limit: float = np.inf) -> tuple[Floats, Ints, Floats]:
    """Return the first hit of each ray ``origin + t · direction`` with ``0 < t < limit``, (..., 3) that broadcast.

    It is ``t``, +inf for a miss; the primitive's index, -1 for a miss; and the unit normal (..., 3) that points out of
    the primitive, zeros for a miss. Directions are of any length but 0. The surfaces are hollow: a ray that starts
    inside a primitive hits it where it leaves. The calculation releases the GIL and is safe in threads.
    """
    start, along = np.broadcast_arrays(np.asarray(origin, np.float64), np.asarray(directions, np.float64))
    t, surface, normal = np.empty(along.shape[:-1]), np.empty(along.shape[:-1], np.int64), np.zeros(along.shape)
    rays = (np.ascontiguousarray(each).reshape(-1, 3) for each in (start, along))
    hits = (t.reshape(-1), surface.reshape(-1), normal.reshape(-1, 3))
    _first_hits(*rays, float(limit), scene.shape, scene.centre, scene.to_local, scene.bounds, scene.link, *hits)
    length = np.sqrt(np.einsum("...i,...i", normal, normal))[..., None]
    return t, surface, np.divide(normal, length, out=normal, where=length > 0)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _inverse(d: float) -> float:
    return 1.0 / (d if d != 0.0 else 1e-300)  # not infinite, so that 0 · inverse is 0


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _slab(o: float, inverse: float, low: float, high: float, near: float, far: float) -> tuple[float, float]:
    """Narrow the interval of t to where ``low <= o + t d <= high``, with ``inverse = 1 / d``."""
    t0, t1 = (low - o) * inverse, (high - o) * inverse
    return max(near, min(t0, t1)), min(far, max(t0, t1))


@njit(nogil=True, cache=True, error_model="numpy")
def _hit(shape: int, o: Floats, d: Floats) -> float:
    """Return t of a ray's first hit with a unit shape, +inf for a miss: all three are convex, an interval of t."""
    near, far = -np.inf, np.inf
    for k in range(3):
        if shape == BOX or (shape == CYLINDER and k == 2):
            near, far = _slab(o[k], _inverse(d[k]), -1.0, 1.0, near, far)
    if shape != BOX:
        w = 1.0 if shape == ELLIPSOID else 0.0
        a = d[0] * d[0] + d[1] * d[1] + w * d[2] * d[2]
        b = o[0] * d[0] + o[1] * d[1] + w * o[2] * d[2]
        c = o[0] * o[0] + o[1] * o[1] - 1.0 + w * o[2] * o[2]
        root = b * b - a * c
        if root < 0.0 or (a == 0.0 and c > 0.0):
            return np.inf
        if a > 0.0:
            root = np.sqrt(root)
            near, far = max(near, (-b - root) / a), min(far, (-b + root) / a)
    if near > far or far <= 0.0:
        return np.inf
    return near if near > 0.0 else far


@njit(nogil=True, cache=True, error_model="numpy")
def _first_hits(  # type: ignore[no-untyped-def]
    origins, directions, limit, shape, centre, to_local, bounds, link, t_out, surface_out, normal_out
):
    """Write t, primitive and normal of each ray's first hit; near children of the tree first."""
    stack = np.empty(128, np.int64)
    o, d, inverse, p, v = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for ray in range(len(origins)):
        for k in range(3):
            o[k], d[k], inverse[k] = origins[ray, k], directions[ray, k], _inverse(directions[ray, k])
        best, hit = limit, -1
        top, stack[0] = 1, 0
        while top > 0:
            top -= 1
            node = stack[top]
            near, far = 0.0, best
            for k in range(3):
                near, far = _slab(o[k], inverse[k], bounds[node, k], bounds[node, k + 3], near, far)
            if near > far:
                continue
            i, axis = link[node]
            if axis >= 0:
                ahead = d[axis] >= 0.0
                stack[top], stack[top + 1] = (i, node + 1) if ahead else (node + 1, i)
                top += 2
                continue
            for k in range(3):
                p[k] = v[k] = 0.0
                for j in range(3):
                    p[k] += to_local[i, k, j] * (o[j] - centre[i, j])
                    v[k] += to_local[i, k, j] * d[j]
            t = _hit(shape[i], p, v)
            if t < best:
                best, hit = t, i
        t_out[ray], surface_out[ray] = best if hit >= 0 else np.inf, hit
        if hit < 0:
            continue
        for k in range(3):
            p[k] = 0.0
            for j in range(3):
                p[k] += to_local[hit, k, j] * (o[j] + best * d[j] - centre[hit, j])
        largest = max(abs(p[0]), abs(p[1]), abs(p[2]))
        cap = p[2] * p[2] > p[0] * p[0] + p[1] * p[1]  # of a cylinder, else its side
        for k in range(3):  # the gradient of the unit shape; normals go by the inverse transpose
            if shape[hit] == ELLIPSOID or (abs(p[k]) == largest if shape[hit] == BOX else cap == (k == 2)):
                for j in range(3):
                    normal_out[ray, j] += to_local[hit, k, j] * p[k]
