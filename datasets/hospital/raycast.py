"""Exact first hits of rays with a scene of boxes, cylinders and ellipsoids; arrays in, arrays out.

Every primitive is a unit shape (cube ``[-1, 1]³``, cylinder of radius 1 with ``|z| <= 1``, ball of radius 1) under an
affine map ``p = centre + axes @ q``, so one ray transform serves all three shapes, and the parameter ``t`` of a hit is
the same in both frames. A bounding volume hierarchy keeps the cost of a ray near the logarithm of their number.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.compiled import njit
from depthvar.datasets.errors import ParameterError

BOX, CYLINDER, ELLIPSOID = 0, 1, 2
_LEAF = 2  # primitives in a leaf, at most


@dataclass(frozen=True)
class Scene:
    """Primitives and the bounding volume hierarchy over them; :func:`build_scene` makes one.

    Attributes:
        shape: (N,) int64, ``BOX``, ``CYLINDER`` (along its local z, with caps) or ``ELLIPSOID``.
        centre: (N, 3) float64, metres.
        axes: (N, 3, 3) float64, metres; the columns are the half-axes in the world.
        material: (N,) int64, a label for the caller; the caster does not read it.
        to_local: (N, 3, 3) float64, the inverses of ``axes``.
        order: (N,) int64, primitives in the order of the leaves.
        bounds: (M, 6) float64, x0 y0 z0 x1 y1 z1 of each node, padded against rounding; a first child follows its node.
        link: (M, 2) int64. A leaf: first place in ``order`` and number of primitives. An inner node: its second
            child, and ``-1 - axis`` of the split.
    """

    shape: NDArray[np.int64]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    material: NDArray[np.int64]
    to_local: NDArray[np.float64]
    order: NDArray[np.int64]
    bounds: NDArray[np.float64]
    link: NDArray[np.int64]


def build_scene(shape: ArrayLike, centre: ArrayLike, axes: ArrayLike, material: ArrayLike) -> Scene:
    """Return a scene for :func:`cast`.

    Args:
        shape: (N,) of ``BOX``, ``CYLINDER``, ``ELLIPSOID``, with N >= 1.
        centre: (N, 3) metres.
        axes: (N, 3, 3) metres; the columns are the half-axes in the world, linearly independent.
        material: (N,) labels of the caller's choice.

    Raises:
        ParameterError: shapes that disagree, no primitive, an unknown shape, or axes that span no volume.
    """
    kinds, labels = np.asarray(shape, dtype=np.int64), np.asarray(material, dtype=np.int64)
    centres, half_axes = np.asarray(centre, dtype=np.float64), np.asarray(axes, dtype=np.float64)
    count = kinds.size
    if count == 0 or (kinds.shape, centres.shape, half_axes.shape, labels.shape) != (
        (count,),
        (count, 3),
        (count, 3, 3),
        (count,),
    ):
        raise ParameterError(
            "scene: expected shape (N,), centre (N, 3), axes (N, 3, 3), material (N,) with N >= 1; got "
            f"{kinds.shape}, {centres.shape}, {half_axes.shape}, {labels.shape}"
        )
    if not np.isin(kinds, (BOX, CYLINDER, ELLIPSOID)).all():
        raise ParameterError(f"scene: expected shapes 0 (box), 1 (cylinder), 2 (ellipsoid), got {sorted(set(kinds))}")
    if not (np.abs(np.linalg.det(half_axes)) > 0).all():
        raise ParameterError("scene: expected three independent half-axes for every primitive, got a flat one")
    round_extent = np.sqrt((half_axes[..., :2] ** 2).sum(-1)) + np.abs(half_axes[..., 2])
    extent = np.choose(
        kinds[:, None],
        (np.abs(half_axes).sum(-1), round_extent, np.sqrt((half_axes**2).sum(-1))),
    )
    extent = extent * (1 + 1e-9) + 1e-9
    order, bounds, link = _hierarchy(centres - extent, centres + extent)
    to_local = np.linalg.inv(half_axes).astype(np.float64, copy=False)
    return Scene(kinds, centres, half_axes, labels, to_local, order, bounds, link)


def cast(
    scene: Scene, origin: ArrayLike, directions: ArrayLike, limit: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the first hit of each ray ``origin + t · direction`` with ``t > 0``.

    Primitives are hollow: a ray that starts inside one hits it where it leaves. The computation releases the GIL and is
    safe in threads.

    Args:
        scene: what to hit.
        origin: (..., 3) metres, broadcast against ``directions``.
        directions: (..., 3), finite, not zero, of any length; ``t`` counts in lengths of the direction, so a direction
            whose component along the optical axis is 1 gives planar depth.
        limit: hits with ``t`` of at least this count as misses; with 1, only objects between the origin and
            ``origin + direction`` are hit.

    Returns:
        ``t`` (...) float64, +inf for a miss; the primitive's index (...) int64, -1 for a miss; the unit normal that
        points out of the primitive (..., 3) float64, zeros for a miss.

    Raises:
        ParameterError: a last dimension that is not 3, shapes that do not broadcast, or a direction that is zero or
            not finite.
    """
    start, along = np.asarray(origin, dtype=np.float64), np.asarray(directions, dtype=np.float64)
    try:
        start, along = np.broadcast_arrays(start, along)
    except ValueError:
        along = along[..., :0]
    if along.shape[-1:] != (3,):
        raise ParameterError(
            "cast: expected origin and directions of shape (..., 3) that broadcast, got "
            f"{np.shape(origin)} and {np.shape(directions)}"
        )
    if not (np.isfinite(start).all() and np.isfinite(along).all() and (along != 0).any(-1).all()):
        raise ParameterError("cast: expected finite origins and finite directions that are not zero")
    lead = along.shape[:-1]
    t, surface = np.empty(lead), np.empty(lead, np.int64)
    normal = np.zeros((*lead, 3))
    _first_hits(
        np.ascontiguousarray(start).reshape(-1, 3),
        np.ascontiguousarray(along).reshape(-1, 3),
        float(limit),
        scene.shape,
        scene.centre,
        scene.to_local,
        scene.order,
        scene.bounds,
        scene.link,
        t.reshape(-1),
        surface.reshape(-1),
        normal.reshape(-1, 3),
    )
    length = np.sqrt((normal**2).sum(-1, keepdims=True))
    return t, surface, np.divide(normal, length, out=normal, where=length > 0)


def _hierarchy(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return order, bounds and link of a hierarchy over (N, 3) boxes, split by the surface area heuristic."""
    order: list[int] = []
    bounds: list[NDArray[np.float64]] = []
    link: list[tuple[int, int]] = []

    def areas(first: NDArray[np.float64], last: NDArray[np.float64]) -> Any:
        x, y, z = (np.maximum.accumulate(last) - np.minimum.accumulate(first)).T
        return x * y + y * z + z * x

    def add(members: NDArray[np.int64]) -> None:
        node = len(link)
        bounds.append(np.concatenate((low[members].min(0), high[members].max(0))))
        link.append((len(order), members.size))
        if members.size <= _LEAF:
            order.extend(members.tolist())
            return
        numbers = np.arange(1, members.size)
        best = (np.inf, 0, 0, members)
        for axis in range(3):
            row = members[np.argsort(low[members, axis] + high[members, axis], kind="stable")]
            left = areas(low[row], high[row])[:-1]
            right = areas(low[row[::-1]], high[row[::-1]])[-2::-1]
            cost = left * numbers + right * numbers[::-1]
            cut = int(cost.argmin())
            if cost[cut] < best[0]:
                best = (float(cost[cut]), axis, cut + 1, row)
        _, axis, cut, row = best
        add(row[:cut])
        link[node] = (len(link), -1 - axis)
        add(row[cut:])

    add(np.arange(len(low)))
    return np.array(order, np.int64), np.array(bounds), np.array(link, np.int64)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _inverse(d: float) -> float:
    return 1.0 / (d if d != 0.0 else 1e-300)  # not infinite, so that 0 · inverse is 0


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _slab(o: float, inverse: float, low: float, high: float, near: float, far: float) -> tuple[float, float]:
    """Narrow the interval of t to where ``low <= o + t d <= high``, with ``inverse = 1 / d``."""
    t0, t1 = (low - o) * inverse, (high - o) * inverse
    return max(near, min(t0, t1)), min(far, max(t0, t1))


@njit(nogil=True, cache=True, error_model="numpy")
def _hit(shape: int, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float) -> float:
    """Return t of a ray's first hit with a unit shape, +inf for a miss: all three are convex, an interval of t."""
    near, far = -np.inf, np.inf
    if shape == BOX:
        near, far = _slab(ox, _inverse(dx), -1.0, 1.0, near, far)
        near, far = _slab(oy, _inverse(dy), -1.0, 1.0, near, far)
        near, far = _slab(oz, _inverse(dz), -1.0, 1.0, near, far)
    else:
        a, b, c = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy - 1.0
        if shape == ELLIPSOID:
            a, b, c = a + dz * dz, b + oz * dz, c + oz * oz
        else:
            near, far = _slab(oz, _inverse(dz), -1.0, 1.0, near, far)
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
    origins, directions, limit, shape, centre, to_local, order, bounds, link, t_out, surface_out, normal_out
):
    """Write t, primitive and normal of each ray's first hit; near children of the hierarchy first."""
    stack = np.empty(128, np.int64)
    d, q = np.empty(3), np.empty(3)
    for ray in range(len(origins)):
        ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
        d[0], d[1], d[2] = directions[ray, 0], directions[ray, 1], directions[ray, 2]
        ix, iy, iz = _inverse(d[0]), _inverse(d[1]), _inverse(d[2])
        best, hit = limit, -1
        top, stack[0] = 1, 0
        while top > 0:
            top -= 1
            node = stack[top]
            box = bounds[node]
            near, far = _slab(ox, ix, box[0], box[3], 0.0, best)
            near, far = _slab(oy, iy, box[1], box[4], near, far)
            near, far = _slab(oz, iz, box[2], box[5], near, far)
            if near > far:
                continue
            first, number = link[node, 0], link[node, 1]
            if number < 0:
                ahead = d[-1 - number] >= 0.0
                stack[top] = first if ahead else node + 1
                stack[top + 1] = node + 1 if ahead else first
                top += 2
                continue
            for place in range(first, first + number):
                i = order[place]
                m, x, y, z = to_local[i], ox - centre[i, 0], oy - centre[i, 1], oz - centre[i, 2]
                t = _hit(
                    shape[i],
                    m[0, 0] * x + m[0, 1] * y + m[0, 2] * z,
                    m[1, 0] * x + m[1, 1] * y + m[1, 2] * z,
                    m[2, 0] * x + m[2, 1] * y + m[2, 2] * z,
                    m[0, 0] * d[0] + m[0, 1] * d[1] + m[0, 2] * d[2],
                    m[1, 0] * d[0] + m[1, 1] * d[1] + m[1, 2] * d[2],
                    m[2, 0] * d[0] + m[2, 1] * d[1] + m[2, 2] * d[2],
                )
                if t < best:
                    best, hit = t, i
        t_out[ray], surface_out[ray] = best if hit >= 0 else np.inf, hit
        if hit >= 0:
            m = to_local[hit]
            for k in range(3):
                q[k] = 0.0
                for j in range(3):
                    q[k] += m[k, j] * (origins[ray, j] + best * d[j] - centre[hit, j])
            if shape[hit] == BOX:
                largest = max(abs(q[0]), abs(q[1]), abs(q[2]))
                for k in range(3):
                    q[k] = 0.0 if abs(q[k]) < largest else q[k]
            elif shape[hit] == CYLINDER:
                if q[2] * q[2] > q[0] * q[0] + q[1] * q[1]:
                    q[0], q[1] = 0.0, 0.0
                else:
                    q[2] = 0.0
            for k in range(3):  # normals go by the inverse transpose
                normal_out[ray, k] = m[0, k] * q[0] + m[1, k] * q[1] + m[2, k] * q[2]
