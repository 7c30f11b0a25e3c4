"""The figures of docs/method.md: a window at an edge, the frustum of a pixel, the levels of a cache."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

IMAGES = Path(__file__).parent / "images"
GREY, BLUE, RED = "#777777", "#1f5fbf", "#c0392b"
SAMPLE_FRAME = 9
STRIDES = (1, 2, 3, 4, 6, 8)


def method_pictures() -> None:
    """Write the three figures as SVG, without a date, so that they change only with this file."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("Agg")
    with plt.rc_context({"svg.hashsalt": "depthvar", "font.size": 10, "axes.spines.top": False}):
        for name, draw in (("window", _window), ("frustum", _frustum), ("strides", _strides)):
            figure = draw(plt)
            figure.savefig(IMAGES / f"method_{name}.svg", metadata={"Date": None}, facecolor="white")
            plt.close(figure)


def _window(plt: Any) -> Any:
    """Draw depth at an edge with two windows, their sorted distances, and σ."""
    from matplotlib.patches import Rectangle

    from depthvar.precompute import sigma_z2

    v, u = np.mgrid[:9, :13]
    depth = np.where(u < 7, 2 + 0.015 * u, 2.6 + 0.02 * v)  # a slanted wall, and what is behind it
    depth += 0.01 * np.sin(5 * u + 3 * v)
    camera = (120.0, 120.0, 6.0, 4.0)
    maps = sigma_z2(depth, camera, return_components=True)
    distance = maps.t_mu
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.5), layout="constrained", width_ratios=[1.15, 1, 1.15])
    windows = {"smooth": ((4, 2), BLUE), "edge": ((4, 6), RED)}
    for axis, values, title, colours in (
        (axes[0], depth, "depth Z in m", "viridis_r"),
        (axes[2], np.sqrt(maps.sigma_z2), "σ in m (logarithmic)", "inferno"),
    ):
        shown = axis.imshow(values, cmap=colours, norm=None if values is depth else "log")
        figure.colorbar(shown, ax=axis, shrink=0.75, format="%g")
        axis.set(title=title, xticks=[], yticks=[])
        for (row, column), colour in windows.values():
            axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, color=colour, lw=2.5))
            if values is depth:
                axis.add_patch(Rectangle((column - 2.5, row - 2.5), 5, 5, fill=False, color=colour, lw=2.5))
    for name, ((row, column), colour) in windows.items():
        t = np.sort(distance[row - 2 : row + 3, column - 2 : column + 3].ravel())
        lo = (t.size + 9) // 20
        hi = t.size - 1 - lo
        axes[1].plot(t, "o", ms=4, color=colour, label=f"{name}: edge = {(t[hi] - t[lo]) / 2:.2g} m")
        axes[1].vlines((lo, hi), t[[lo, hi]] - 0.04, t[[lo, hi]] + 0.04, color=colour)
        axes[1].hlines(t[[lo, hi]], -0.5, 24.5, color=colour, lw=0.7, ls=":")
    axes[1].set(title="25 distances of a window, sorted", xlabel="rank", ylabel="t in m")
    axes[1].set_xticks([1, 12, 23], ["lo = 1", "12", "hi = 23"])
    axes[1].legend(loc="center left", frameon=False)
    return figure


def _frustum(plt: Any) -> Any:
    """Draw the cone of a pixel in the plane of the ray and the optical axis, and its part from t − δ to t + δ."""
    figure, axis = plt.subplots(figsize=(10, 3.9), layout="constrained")
    axis.set(xlim=(-0.4, 10.4), ylim=(-1.0, 4.1), aspect="equal")
    axis.axis("off")
    angle, spread, t, delta = np.deg2rad(19), np.deg2rad(3.4), 8.2, 1.1  # the pixel is drawn much too wide

    def at(distance: float, turn: float = 0.0) -> Any:
        return distance * np.array([np.cos(angle + turn), np.sin(angle + turn)])

    def line(points: list[Any], **style: Any) -> None:
        axis.plot(*np.array(points).T, **{"color": GREY, "lw": 1, **style})

    line([(0, 0), (10.2, 0)], ls="-.")
    axis.text(10.2, 0.12, "optical axis", ha="right", color=GREY)
    for turn in (-spread, spread):
        line([(0, 0), at(10.2, turn)], color=BLUE)
    near, far = t - delta, t + delta
    corners = np.array([at(near, -spread), at(far, -spread), at(far, spread), at(near, spread)])
    axis.fill(*corners.T, color=BLUE, alpha=0.25, lw=0)
    line([at(near, -spread), at(near, spread)], color=BLUE)
    line([at(far, -spread), at(far, spread)], color=BLUE)
    line([(0, 0), at(t)], color="black")
    axis.plot(*at(t), "o", color="black")
    axis.plot(0, 0, "o", color="black")
    axis.text(-0.1, -0.35, "camera", ha="center")
    line([(2, -0.4), (2, 1.6)], color="black")
    axis.text(2, -0.62, "image plane", ha="center")
    line([(2, 2 * np.tan(angle - spread)), (2, 2 * np.tan(angle + spread))], color=BLUE, lw=5)
    axis.text(1.85, 1.12, "pixel", ha="right", color=BLUE)
    line([at(t, -spread), at(t, spread)], color=RED, lw=2)
    place = np.add(at(t, spread), (-0.25, 0.75))
    axis.annotate("footprint: tanθ · t to each side", at(t, 0.8 * spread), place, ha="right", color=RED,
                  arrowprops={"arrowstyle": "-", "color": RED})  # fmt: skip
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([np.sin(angle), -np.cos(angle)])
    start = at(t) + 0.95 * across
    for sign in (-1, 1):
        axis.annotate("", start + sign * delta * along, start, arrowprops={"arrowstyle": "->"})
        axis.text(*(start + sign * 0.55 * delta * along + 0.3 * across), "δ", ha="center", va="center")
    axis.text(*np.add(at(4.6), (-0.15, 0.32)), "t", ha="center")
    foot = at(t)[0]
    line([at(t), (foot, 0)], ls=":")
    axis.annotate("", (foot, -0.35), (0.35, -0.35), arrowprops={"arrowstyle": "<->", "color": GREY})
    axis.text(4.6, -0.75, "Z = d_z · t", color=GREY, ha="center")
    axis.text(0, 3.5, "σ_t²: the variance of t in the shaded frustum", color=BLUE)
    axis.text(0, 3.05, "σ_Z² = d_z² σ_t²: the same along the optical axis", color=GREY)
    return figure


def _strides(plt: Any) -> Any:
    """Draw σ of one frame at each stride, and which levels a view of scale r reads."""
    from matplotlib.patches import Rectangle

    from depthvar.datasets.hospital.render import render
    from depthvar.datasets.hospital.scene import scene
    from depthvar.datasets.hospital.write import camera_poses
    from depthvar.precompute import sigma_z2

    camera = np.array([320.0, 320, 319.5, 239.5])
    depth, _ = render(scene(), camera_poses("Easy/P000")[SAMPLE_FRAME], tuple(camera), (480, 640))
    figure = plt.figure(figsize=(11, 3.2))
    axis = figure.add_axes((0.04, 0.17, 0.92, 0.3))
    axis.set(xlim=(-0.35, 3.55), ylim=(0, 1), yticks=[])
    axis.spines[["left", "right"]].set_visible(False)
    axis.set_xticks(np.log2(STRIDES), [f"{s}" for s in STRIDES])
    axis.set_xlabel("r: native pixels per pixel of the view, at the strides of the cache (log₂)")
    for low, high in pairwise(np.log2(STRIDES)):
        third = (high - low) / 3
        axis.add_patch(Rectangle((low + third, 0), third, 1, color=BLUE, alpha=0.25, lw=0))
    for stride in STRIDES:
        axis.axvline(np.log2(stride), color="black", lw=1.5)
    for name, r in (("a", 1.22), ("b", 2.45), ("c", 10.4)):
        axis.plot(np.log2(r), 0.3, "v", color=RED, ms=9)
        axis.text(np.log2(r), 0.5, name, color=RED, ha="center", fontsize=12)
    for stride in STRIDES:
        part = depth[60:420:stride, 100:460:stride]
        shifted = (camera - (0, 0, 100, 60)) / stride
        sigma = np.sqrt(sigma_z2(np.ascontiguousarray(part), shifted, max_depth=80))
        centre = 0.04 + 0.92 * (np.log2(stride) + 0.35) / 3.9
        side = 0.098
        picture = figure.add_axes((centre - side / 2, 0.52, side, 0.3))
        picture.imshow(np.where(np.isfinite(sigma), sigma, np.nan), cmap="inferno", norm="log")
        picture.set(title=f"stride {stride}", xticks=[], yticks=[])
    return figure
