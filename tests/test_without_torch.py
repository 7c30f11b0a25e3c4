"""torch is an extra: the pipeline, the reader of caches and their checks do without it; what needs it says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import TinyData, make_depth

from depthvar.datasets.params import KernelParams
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline

CURE = (
    "needs torch, which is not installed: pip install 'depthvar[torch]'; without a GPU the small build: "
    "pip install torch --index-url https://download.pytorch.org/whl/cpu"
)


def without_torch(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a new process for which torch is not installed."""
    blocked = f"import sys; sys.modules['torch'] = None\n{code}"
    return subprocess.run([sys.executable, "-c", blocked, *arguments], capture_output=True, text=True, cwd=folder)


def test_the_pipeline_the_reader_and_the_checks_need_no_torch(tmp_path: Path) -> None:
    """Every command on a data set, then what a loader of NumPy views does with the cache."""
    data = TinyData(tmp_path / "data")
    for index in range(2):
        data.write("a", f"{index:03}", make_depth(48, 64, index))
    code = """
from depthvar.precompute.cli.main import main
toml, cache = sys.argv[1:]
for words in (
    ["run", "--dataset", toml], ["run", "--dataset", toml, "--estimator", "difference", "--out", "other.zarr"],
    ["validate", cache, "--full"], ["info", cache], ["inspect", "--dataset", toml, "-o", "look.png"],
    ["preview", cache, "-o", "drawn.png"], ["datasets", "hypersim"],
    ["run", "--dataset", toml, "--dry-run"], ["run", "--help"],
):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, words

import numpy as np
from depthvar.datasets import SigmaCache, open_source, resize_depth
from depthvar.precompute import check_loader, run, sigma_z2, validate
source, sigma = open_source(toml), SigmaCache(cache)
views = []
for frame in source:
    fx, fy, cx, cy = frame.intrinsics
    camera = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    views.append({"depthmap": np.where(frame.valid, frame.depth, 0), "camera_intrinsics": camera, "key": frame.key})
    sigma.annotate(views[-1], frame.key)
    assert sigma.sample(frame.key, frame.intrinsics / 2, (24, 32)).shape == (24, 32)
    assert sigma_z2(frame.depth, frame.intrinsics).shape == frame.depth.shape
    assert resize_depth(frame.depth, frame.intrinsics, frame.intrinsics / 2, (24, 32)).shape == (24, 32)
print(check_loader(views, sigma), file=sys.stderr)
from depthvar.loss.weights import focus_weight, sigma_weight
import depthvar.datasets, depthvar.loss, depthvar.precompute, depthvar.precompute.pytest_plugin
"""
    ran = without_torch(code, str(data.toml), data.job().cache, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "look.png").exists()


NEED_TORCH = {
    "from depthvar.loss import weighted_l1": "depthvar.loss.weighted_l1",
    "from depthvar.loss import FocusedLogL1": "depthvar.loss.FocusedLogL1",
    "from depthvar.datasets import attach": "a data set of a DataLoader (attach, CachedDepthDataset)",
    "from depthvar.datasets import CachedDepthDataset": "a data set of a DataLoader (attach, CachedDepthDataset)",
    "sigma_z2(np.ones((8, 8)), [8, 8, 4, 4], engine='torch')": "engine='torch'",
    "sigma_z2(np.ones((8, 8)), [8, 8, 4, 4], KernelParams(compat='pi3'))": "compat='pi3'",
    "run(open_source(toml), 'new.zarr', KernelParams(compat='pi3'))": "compat='pi3'",
    "plan(open_source(toml), 'new.zarr', device='cuda')": "device cuda",
}


def test_what_needs_torch_is_an_import_error_that_names_the_extra(tiny: TinyData, tmp_path: Path) -> None:
    code = """
import numpy as np
from depthvar.datasets import open_source
from depthvar.precompute import KernelParams, plan, run, sigma_z2
toml, *needs = sys.argv[1:]
for each in needs:
    try:
        exec(each)
    except ImportError as error:
        print(error)
"""
    ran = without_torch(code, str(tiny.toml), *NEED_TORCH, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"{what} {CURE}" for what in NEED_TORCH.values()]
    assert not (tmp_path / "new.zarr").exists()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("run", "--dataset", "hospital", "--compat", "pi3"), "compat='pi3'"),  # before the scene is rendered
        (("run", "--dataset", "hospital", "--device", "cuda", "--dry-run"), "device cuda"),
    ],
    ids=" ".join,
)
def test_an_option_that_needs_torch_is_one_line_and_writes_nothing(
    tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    ran = without_torch("from depthvar.precompute.cli.main import main; main(sys.argv[1:])", *words, folder=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"error: {what} {CURE}\n")
    assert not list(tmp_path.iterdir())


def test_a_cache_of_the_original_kernel_is_read_without_torch_and_recomputed_with_it(tiny: TinyData) -> None:
    job = tiny.job(params=KernelParams(compat="pi3"))
    list(pipeline.run(job, execute.serial))
    code = "from depthvar.precompute.cli.main import main; main(sys.argv[1:])"
    refused = without_torch(code, "validate", job.cache)
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (1, f"error: compat='pi3' {CURE}")
    for words in (("validate", job.cache, "--recompute", "0"), ("info", job.cache)):
        assert without_torch(code, *words).returncode == 0, words
