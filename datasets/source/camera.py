"""Intrinsics as data sets write them: which numbers, in which units, of which size; and as four numbers in pixels."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.frame import ROUNDING, as_intrinsics, camera_of

from .containers import Place
from .names import nearest
from .numbers import NumbersRule, read_table

UNITS = ("pixels", "normalised", "ndc", "ndc_norm_image_bounds", "larger_side")
# Each way to give the focal length, by names that are all needed; only a centre and w, h may be next to them.
FOCAL = (
    ("fx", "fy"),
    ("f",),
    ("f_mm", "sensor_mm"),
    ("fov_x",),
    ("fov_y",),
    ("fov_x", "fov_y"),
    ("fov_x_rad",),
    ("fov_y_rad",),
    ("fov_x_rad", "fov_y_rad"),
    ("p00", "p11"),
)
CENTRE = ((), ("cx", "cy"), ("p02", "p12"))
SKEW = ("p01", "p10")
NAMES = (
    *("fx", "fy", "f", "cx", "cy", "w", "h", "fov_x", "fov_y", "fov_x_rad", "fov_y_rad", "f_mm", "sensor_mm"),
    *("p00", "p01", "p02", "p10", "p11", "p12", "-"),
)


@dataclass(frozen=True)
class CameraRule:
    """How the numbers of a camera become fx, fy, cx, cy in pixels of the depth.

    Attributes:
        constant: the numbers; None: they are in a file.
        numbers: where in a file they are; None: they are constant.
        names: what each number is, in order. Empty: by their count, see :func:`camera_from`. ``fx fy f cx cy`` are in
            ``unit``; ``w h`` is the size in pixels that they belong to; ``fov_x fov_y`` in degrees, with ``_rad`` in
            radians; ``f_mm sensor_mm`` focal length and width of the sensor, both in mm; ``p00 p01 p02 p10 p11 p12``
            rows of an OpenGL projection matrix; ``-`` is not used.
        unit: in :data:`UNITS`.
        size: width and height in pixels that the numbers belong to; None: those of the depth, or ``w h``.

    Raises:
        ParameterError: names that are unknown, twice there, or no camera; or an impossible unit or size.
    """

    constant: tuple[float, ...] | None
    numbers: NumbersRule | None
    names: tuple[str, ...] = ()
    unit: str = "pixels"
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if (self.constant is None) == (self.numbers is None):
            raise ParameterError("intrinsics: expected either constant or file: give one of them")
        if self.unit not in UNITS:
            raise ParameterError(f"unit: expected one of {', '.join(UNITS)}, got '{self.unit}'")
        if self.size is not None and not (len(self.size) == 2 and min(self.size) >= 1):
            raise ParameterError(f"size: expected width and height in pixels, got {self.size}")
        if self.names:
            self._check_names()

    def _check_names(self) -> None:
        for name in self.names:
            if name not in NAMES:
                raise ParameterError(
                    f"numbers: unknown name '{name}'{nearest(name, NAMES)}; expected some of {' '.join(NAMES)}"
                )
        given = [name for name in self.names if name != "-"]
        known = set(given)
        focal = next((way for way in FOCAL if set(way) == known - {"w", "h", "cx", "cy", "p02", "p12", *SKEW}), None)
        centre = next((way for way in CENTRE if set(way) == known & {"cx", "cy", "p02", "p12"}), None)
        is_projection = focal == ("p00", "p11")
        wrong_matrix = (not is_projection and known & {"p02", "p12", *SKEW}) or (is_projection and "cx" in known)
        if len(known) < len(given) or focal is None or centre is None or wrong_matrix or len(known & {"w", "h"}) == 1:
            ways = ", ".join(" ".join(way) for way in FOCAL)
            raise ParameterError(
                f"numbers: expected one of {ways}, and if given cx cy (of a projection p02 p12) and w h, each once; "
                f"got {' '.join(self.names)}"
            )
        if self.unit != "pixels" and focal not in (("fx", "fy"), ("f",)):
            raise ParameterError(f"unit: '{self.unit}' goes with fx fy or f, got {' '.join(self.names)}: remove unit")
        if self.unit == "normalised" and focal == ("f",):
            raise ParameterError("unit: 'normalised' needs fx and fy, since f may be of the width or of the height")

    @property
    def needs_size(self) -> bool:
        """Whether :func:`camera_from` needs the size of the depth: all but pixels of the depth itself do."""
        in_pixels = not self.names or ({"cx", "cy"} <= {*self.names} and not {"w", "p00"} & {*self.names})
        focal = not self.names or bool({"f", "fx"} & {*self.names})
        return not (in_pixels and focal and self.unit == "pixels" and self.size is None)


def camera_from(numbers: ArrayLike, rule: CameraRule, size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Return (4,) float64 fx, fy, cx, cy in pixels of the depth.

    Args:
        numbers: as many as ``rule.names``. Without names 4 (fx fy cx cy), 9 (a 3×3 matrix by rows), 12 (a 3×4
            projection matrix, whose last column, a translation, is not used), or 16 (a 3×3 matrix in a 4×4 identity).
        rule: what they are.
        size: (H, W) of the depth; needed where ``rule.needs_size``.

    Raises:
        ParameterError: another count of numbers, skew, or impossible intrinsics, as :func:`pinhole`.

    The formulas, for a width W and height H in pixels:

    - normalised: fx W, fy H, cx W, cy H (MoGe, ``docs/train.md``: "normalized camera intrinsics").
    - ndc: with s = min(W, H) / 2, f = s f and c = (W, H) / 2 − s c, as x and y point left and up (PyTorch3D,
      ``docs/notes/cameras.md``; CO3D's ``ndc_isotropic``).
    - ndc_norm_image_bounds: the same with W / 2 for x and H / 2 for y (PyTorch3D before 0.5, as CO3D version 1 has it;
      facebookresearch/co3d, ``co3d/dataset/data_types.py``).
    - larger_side: with m = max(W, H), f = m f and c = m c + (W, H) / 2 − 0.5: OpenSfM puts the centre of the first
      pixel at ((0.5 − W/2) / m, (0.5 − H/2) / m) (``opensfm/features.py``, ``normalized_image_coordinates``).
    - fov_x, fov_y: f = W / (2 tan(fov_x / 2)), from the height alike; one of them alone gives both focal lengths.
    - f_mm, sensor_mm: f = f_mm W / sensor_mm, the sensor's width being given.
    - projection: fx = p00 W / 2, cx = (1 − p02) W / 2, fy = p11 H / 2, cy = (1 + p12) H / 2 (OpenGL clip coordinates
      with y upwards, as apple/ml-hypersim's M_proj).

    Without a centre it is W/2, H/2. That, and what normalised, ndc and projection give, is measured from the corner of
    the first pixel and not from its centre. It is kept as the published loaders keep it: half a pixel more than ours.
    Numbers of another size (w h, or ``rule.size``) are scaled by W / w and H / h, centres by (c + 0.5) W / w − 0.5.
    """
    given = np.asarray(numbers, dtype=np.float64).ravel()
    if rule.needs_size and size is None:
        raise ParameterError("intrinsics: expected the size of the depth, which these numbers need, got none")
    if not rule.names:
        values = dict(zip(("fx", "fy", "cx", "cy"), _four(given), strict=True))
    elif given.size != len(rule.names):
        raise ParameterError(
            f"intrinsics: expected {len(rule.names)} numbers ({' '.join(rule.names)}), got {given.size}; correct "
            "numbers or key"
        )
    else:
        values = dict(zip(rule.names, given.tolist(), strict=True))
    height, width = size or (0, 0)
    w, h = (values["w"], values["h"]) if "w" in values else rule.size or (width, height)
    if rule.needs_size and not (1 <= w < math.inf and 1 <= h < math.inf):
        raise ParameterError(f"intrinsics: expected w and h of at least one pixel, got {w:g} and {h:g}")
    fx, fy, cx, cy = _in_pixels(values, rule.unit, w, h)
    if (w, h) != (width, height):
        x, y = width / w, height / h
        fx, fy, cx, cy = fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5
    return pinhole([fx, fy, cx, cy])


def _in_pixels(values: dict[str, float], unit: str, w: float, h: float) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy in pixels of the size that the values belong to."""
    fx, fy = _focal(values, w, h)
    if "p02" in values:
        return fx, fy, (1 - values["p02"]) * w / 2, (1 + values["p12"]) * h / 2
    has_centre = "cx" in values
    cx, cy = (values["cx"], values["cy"]) if has_centre else (w / 2, h / 2)
    if unit == "normalised":
        return fx * w, fy * h, cx * w if has_centre else cx, cy * h if has_centre else cy
    if unit in ("ndc", "ndc_norm_image_bounds"):
        x, y = (min(w, h) / 2,) * 2 if unit == "ndc" else (w / 2, h / 2)
        return fx * x, fy * y, w / 2 - cx * x if has_centre else cx, h / 2 - cy * y if has_centre else cy
    if unit == "larger_side":
        side = max(w, h)
        cx, cy = (cx * side + w / 2 - 0.5, cy * side + h / 2 - 0.5) if has_centre else (cx, cy)
        return fx * side, fy * side, cx, cy
    return fx, fy, cx, cy


def _focal(values: dict[str, float], w: float, h: float) -> tuple[float, float]:
    """Return fx, fy, in pixels but for those of another unit."""
    if "fx" in values:
        return values["fx"], values["fy"]
    if "p00" in values:
        skew = [values.get(name, 0.0) for name in SKEW]
        if not all(abs(each) <= ROUNDING * abs(values["p00"]) for each in skew):  # nor NaN
            raise ParameterError(
                f"intrinsics: expected p01 and p10 of 0, got {skew[0]:g} and {skew[1]:g}: a projection with skew or a "
                "turn is no pinhole camera's; leave the scene out"
            )
        return values["p00"] * w / 2, values["p11"] * h / 2
    if "f" in values:
        return values["f"], values["f"]
    if "f_mm" in values:
        focal = values["f_mm"] / values["sensor_mm"] * w if values["sensor_mm"] else math.inf
        return focal, focal
    radians = {name.removesuffix("_rad"): angle for name, angle in values.items() if name.endswith("_rad")}
    angles = radians or {name: math.radians(values[name]) for name in ("fov_x", "fov_y") if name in values}
    for name, angle in angles.items():
        if not 0 < angle < math.pi:
            raise ParameterError(f"intrinsics: expected {name} above 0° and below 180°, got {math.degrees(angle):g}°")
    both = [side / (2 * math.tan(angles[name] / 2)) for name, side in (("fov_x", w), ("fov_y", h)) if name in angles]
    return both[0], both[-1]


def pinhole(numbers: ArrayLike) -> NDArray[np.float64]:
    """Return intrinsics as (4,) float64 fx, fy, cx, cy in pixels.

    Args:
        numbers: 4 (fx fy cx cy), 9 (a 3×3 matrix by rows), or 16 (a 3×3 matrix in a 4×4 identity).

    Raises:
        ParameterError: another count, skew, a translation, or a focal length below one pixel or not finite.
    """
    given = np.asarray(numbers, dtype=np.float64).ravel()
    if given.size not in (4, 9, 16):
        raise ParameterError(
            f"intrinsics: expected 4 (fx fy cx cy), 9 or 16 numbers, got {given.size}; "
            "give those alone, with decimal points"
        )
    intrinsics = as_intrinsics(_four(given))
    if intrinsics[:2].min() < 1:
        raise ParameterError(
            f"intrinsics: expected pixels, got fx {intrinsics[0]:g} and fy {intrinsics[1]:g}, which look "
            "normalised: multiply fx and cx by the width, fy and cy by the height"
        )
    return intrinsics


def _four(given: NDArray[np.float64]) -> list[float]:
    """Return fx, fy, cx, cy, in their unit, of 4 numbers or of a matrix; ParameterError where it is no pinhole's."""
    if given.size == 16:
        matrix = given.reshape(4, 4)
        if not np.allclose(matrix[[0, 1, 2, 3, 3, 3, 3], [3, 3, 3, 0, 1, 2, 3]], [0] * 6 + [1], rtol=0, atol=ROUNDING):
            raise ParameterError(
                f"intrinsics: expected 3×3 in a 4×4 identity, got {matrix.tolist()}; give the 3×3 part alone"
            )
        given = matrix[:3, :3].ravel()
    if given.size == 12:
        given = given.reshape(3, 4)[:, :3].ravel()
    if given.size not in (4, 9):
        raise ParameterError(
            f"intrinsics: expected 4 (fx fy cx cy), 9, 12 or 16 numbers, got {given.size}; say what they are in numbers"
        )
    return given.tolist() if given.size == 4 else camera_of(given.tolist())


def read_intrinsics(path: Place) -> NDArray[np.float64]:
    """Return :func:`pinhole` of the numbers in a .npy or a text file (``#`` begins a comment).

    Blanks, tabs, commas, semicolons, brackets or line ends separate the numbers.

    Raises:
        SourceError: the file is missing, or holds something else or impossible intrinsics.
    """
    numbers = read_table(path, NumbersRule(str(path))).numbers((), None)
    try:
        return pinhole(numbers)
    except ParameterError as error:
        raise SourceError(f"{path}: {error}") from error
