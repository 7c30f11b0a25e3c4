"""The pictures of the README and of docs/preview.md, as `precompute preview` draws them."""

import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
SAMPLE_FRAME = 24  # chairs, poles and window bars before the far outside


def pictures() -> None:
    """Write the README's picture: image (or relief), depth and σ of a sample frame and of a real one; and others."""
    from PIL import Image

    from depthvar.datasets import open_source
    from depthvar.datasets.hospital.write import write_sample
    from depthvar.precompute import preview

    real = open_source("folder", DOCS.parent / "tests/data/redwood_rgbd", intrinsics=(525, 525, 319.5, 239.5))
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder))
        sample = open_source("hospital-sample", folder)
        parts = [
            preview(source, [frame], weight="none", tile=340) for source, frame in ((sample, SAMPLE_FRAME), (real, 0))
        ]
        sheet = preview(sample, 2, tile=280)
    whole = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    for place, part in enumerate(parts):
        whole.paste(part, (0, sum(before.height for before in parts[:place])))
    (DOCS / "images").mkdir(exist_ok=True)
    whole.save(DOCS / "images/depth_sigma.png", optimize=True)
    sheet.save(DOCS / "images/preview.png", optimize=True)
