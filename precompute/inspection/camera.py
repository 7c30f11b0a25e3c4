"""A principal point that belongs to another resolution, or to a frame on its side."""

from collections.abc import Sequence

from depthvar.datasets.frame import camera_doubt

from .look import Look, Rule
from .verdict import Verdict, ok, untold, warning

CHECK = "principal point"
ALIKE = 0.03  # relative difference of the two sides' ratios
CENTRED = 0.12  # how far real principal points lie from the centre, relative to half a side


def check_camera(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Compare the principal point with the centre of the frame, and of others that it may belong to."""
    for look in looks:
        if found := _doubt(look):
            return [warning(CHECK, f"{look.key}: {found}")]
    (height, width), (_, _, cx, cy) = looks[0].size, looks[0].camera
    across, down = (cx + 0.5) / width, (cy + 0.5) / height
    where = f"at {across:.2f} of the width and {down:.2f} of the height"
    if max(abs(across - 0.5), abs(down - 0.5)) > CENTRED / 2:
        return [untold(CHECK, f"{where}: right for a crop; of which resolution it is cannot be told")]
    return [ok(CHECK, where)]


def _doubt(look: Look) -> str:
    """Return what is wrong with the camera of a frame; "": nothing that can be told."""
    height, width = look.size
    _, _, cx, cy = look.camera.tolist()
    across, down = (cx + 0.5) / width * 2, (cy + 0.5) / height * 2  # 1: at the centre
    point = f"principal point ({cx:g}, {cy:g}) of a frame of {width}×{height} (width × height)"
    if abs(across / down - 1) < ALIKE and abs(across - 1) > CENTRED:
        ratio = (across + down) / 2
        other = f"{round(width * ratio)}×{round(height * ratio)}"
        of_image = look.colour is not None and abs(look.colour.size[1] - width * ratio) < ALIKE * width * ratio
        return (
            f"{point} is the centre of one of about {other}{', the size of the image' if of_image else ''}: the "
            f"intrinsics are of another resolution: divide all four by {ratio:.3g}, or set [intrinsics] size"
        )
    turned = abs((cx + 0.5) / height * 2 - 1), abs((cy + 0.5) / width * 2 - 1)
    if (
        abs(width / height - 1) > 2 * CENTRED
        and max(turned) < CENTRED / 2
        and max(abs(across - 1), abs(down - 1)) > CENTRED
    ):
        return f"{point} is the centre of one of {height}×{width}: swap cx and cy, and fx and fy"
    return ""


def check_unusual(looks: Sequence[Look], rule: Rule) -> list[Verdict]:
    """Say what is unusual about the intrinsics, by the rule of a run, which looks at those of every frame."""
    for look in looks:
        fx, fy, cx, cy = look.camera.tolist()
        if doubt := camera_doubt((fx, fy, cx, cy), look.size):
            return [warning("intrinsics", f"{look.key}: {doubt}")]
    return []
