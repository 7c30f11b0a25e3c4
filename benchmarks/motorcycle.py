"""The Middlebury 2014 Motorcycle ground truth that the scikit-image wheel ships, as a data set on disk."""

from pathlib import Path

import numpy as np
import skimage

# Of the scene's calib.txt: focal length and principal point in pixels, baseline in metres, offset of disparities.
FOCAL, CX, CY, BASELINE, DOFFS = 994.978, 311.193, 254.877, 0.193001, 31.086
TOML = f"""summary = "Middlebury 2014 Motorcycle, from the scikit-image wheel"
names = ["motorcycle"]
[files]
depth = "depth/{{frame}}.npy"
[depth]
dtype = "float32"
units_per_metre = 1.0
[intrinsics]
constant = [{FOCAL}, {FOCAL}, {CX}, {CY}]
"""


def write_motorcycle(root: Path) -> Path:
    """Write depth (planar metres, 0 where occluded) and its description below ``root``; return the description."""
    disparity = np.load(Path(skimage.__file__).parent / "data" / "motorcycle_disp.npz")["arr_0"]
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(np.isfinite(disparity), FOCAL * BASELINE / (disparity + DOFFS), 0)
    (root / "depth").mkdir(parents=True)
    np.save(root / "depth" / "motorcycle.npy", depth.astype(np.float32))
    description = root / "motorcycle.toml"
    description.write_text(TOML)
    return description
