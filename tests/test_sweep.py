"""σ² of other λ and α than a cache was computed with: as a fresh run gives it, to a stated rounding."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import xarray
import zarr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from object_servers import Proxy
from strategies import Scene, params, scenes
from tiny_data import TinyData, make_depth

from depthvar.datasets import CachedDepthDataset, SigmaCache, attach
from depthvar.datasets.cache.format import shard_frames
from depthvar.datasets.errors import CacheError, ParameterError
from depthvar.datasets.lookup.parameters import change_parameters
from depthvar.precompute import Difference, KernelParams, cache_info, plan, sigma_z2
from depthvar.precompute import run as run_api
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.levels import kept_bits, round_mantissas
from depthvar.precompute.validation.validate import validate

laws = settings(max_examples=60, deadline=None)
ARITHMETIC = 64 * 2.0**-24  # both kernels share the half range, to the bit; the steps behind it are some 50 operations
LAMBDAS, ALPHAS = (0.0, 0.1, 0.5, 1.5, 20.0), (1e-6, 0.02, 0.3, 1.0)
lambdas, alphas = st.sampled_from(LAMBDAS) | st.floats(0, 1e9), st.sampled_from(ALPHAS) | st.floats(1e-6, 1)
VIEWS: dict[str, tuple[list[float], tuple[int, int]]] = {
    "a crop": ([40, 40, 12, 9], (16, 20)),
    "a stride": ([20, 20, 7.75, 5.75], (12, 16)),
    "between": ([27, 27, 10.6, 8], (16, 21)),
    "coarser than all": ([9, 9, 3.5, 2.5], (5, 7)),
}


def law(keepbits: int) -> float:
    """How far σ² of other parameters may be from what the kernel gives, relative: the law of docs/sweeps.md.

    The roundings of σ², and of the half range with one bit more, whose square counts.
    """
    return (1 + 2.0 ** -(keepbits + 1)) * (1 + 2.0 ** -(keepbits + 2)) ** 2 - 1


def rounded(values: NDArray[np.float32], keepbits: int) -> NDArray[np.float32]:
    values = np.ascontiguousarray(values)
    round_mantissas(values.view(np.int32), keepbits)
    return values


def changed(scene: Scene, stored: KernelParams, wanted: KernelParams, keepbits: int, engine: Any) -> Any:
    """Return σ² of ``wanted`` from what a cache of ``stored`` would hold."""
    maps = sigma_z2(scene.depth, scene.intrinsics, stored, return_components=True, engine=engine)
    found, edge = rounded(maps.sigma_z2, keepbits), rounded(maps.edge, kept_bits("edge", keepbits))
    tan2 = float(((0.5 / scene.intrinsics[:2]) ** 2).sum())
    limits = [(p.lambda_prior**2 * tan2, p.alpha_clamp**2) for p in (stored, wanted)]
    change_parameters(found, edge, *limits[0], *limits[1])
    return found


def assert_within(got: NDArray[Any], want: NDArray[Any], allowed: Any) -> None:
    np.testing.assert_array_equal(got == np.inf, want == np.inf)
    finite, allowed = want < np.inf, np.broadcast_to(allowed, want.shape)
    a, b = got[finite].astype(np.float64), want[finite].astype(np.float64)
    assert (np.abs(a - b) <= allowed[finite] * b).all(), float(np.abs(a / b - 1).max())


# ---- the law, point by point ----


@pytest.mark.parametrize("engine", ["numba", "torch"])
@laws
@given(scene=scenes(), stored=params(), lam=lambdas, alpha=alphas, keepbits=st.sampled_from([1, 5, 8, 23]))
def test_it_is_what_the_kernel_gives_within_the_roundings(
    engine: Any, scene: Scene, stored: KernelParams, lam: float, alpha: float, keepbits: int
) -> None:
    wanted = replace(stored, lambda_prior=lam, alpha_clamp=alpha)
    got = changed(scene, stored, wanted, keepbits, engine)
    allowed = (law(keepbits) if keepbits < 23 else 0) + ARITHMETIC
    assert_within(got, sigma_z2(scene.depth, scene.intrinsics, wanted, engine=engine), allowed)


@laws
@given(scene=scenes(), stored=params(), lam=lambdas, alpha=alphas)
def test_it_is_what_the_definition_gives(scene: Scene, stored: KernelParams, lam: float, alpha: float) -> None:
    wanted = replace(stored, lambda_prior=lam, alpha_clamp=alpha)
    want = reference.sigma_z2(*scene, wanted)
    first = reference.rounding(reference.sigma_z2(*scene, stored))  # its half range enters twice
    assert_within(
        changed(scene, stored, wanted, 8, "numba"), want.sigma_z2, law(8) + 2 * (first + reference.rounding(want))
    )


def test_the_bound_is_nearly_reached() -> None:
    """Where one of the two is all range and the other all prior, the square of the half range counts in full."""
    rng = np.random.default_rng(0)
    scene = Scene(rng.uniform(1, 1.02, (200, 200)).astype(np.float32), np.array([300, 300, 100, 100.0]))
    stored, wanted = KernelParams(lambda_prior=0), KernelParams(lambda_prior=100, alpha_clamp=1)
    want = sigma_z2(scene.depth, scene.intrinsics, wanted).astype(np.float64)
    assert np.abs(changed(scene, stored, wanted, 8, "numba") / want - 1).max() > 0.8 * law(8)


@laws
@given(scene=scenes(), stored=params(), keepbits=st.sampled_from([2, 8, 23]))
def test_with_the_same_parameters_it_keeps_its_bits(scene: Scene, stored: KernelParams, keepbits: int) -> None:
    want = rounded(sigma_z2(scene.depth, scene.intrinsics, stored), keepbits)
    np.testing.assert_array_equal(changed(scene, stored, stored, keepbits, "numba"), want)


@laws
@given(scene=scenes(), stored=params(), other=params())
def test_the_half_range_depends_on_neither(scene: Scene, stored: KernelParams, other: KernelParams) -> None:
    wanted = replace(stored, lambda_prior=other.lambda_prior, alpha_clamp=other.alpha_clamp)
    one, two = (sigma_z2(*scene, p, return_components=True) for p in (stored, wanted))
    np.testing.assert_array_equal(one.edge, two.edge)
    np.testing.assert_array_equal(one.edge < np.inf, one.sigma_z2 < np.inf)


# ---- caches ----


def run(job: Job, **options: Any) -> list[Any]:
    return list(pipeline.run(job, execute.in_threads(2), **options))


def frames(folder: Path) -> TinyData:
    """Two sequences, one of them in two sizes; slopes, edges, holes and sky; shards of three frames."""
    data = TinyData(folder, shard_frames=3)
    for index in range(4):
        data.write("a", f"{index}", make_depth(24, 32, index))
        data.write("b", f"{index}", make_depth(24 + 2 * (index > 2), 32, 10 + index))
    data.age()
    return data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    """Frames with a cache that keeps the half range, for tests that change neither."""
    found = frames(tmp_path_factory.mktemp("sweep"))
    run(found.job(keep=("edge",)))
    return found


@pytest.fixture
def own(tmp_path: Path) -> TinyData:
    return frames(tmp_path / "own")


def sweep() -> Iterator[dict[str, float]]:
    return ({"lambda_prior": lam, "alpha_clamp": alpha} for lam, alpha in product((0.0, 0.2, 3.0), (0.02, 0.3, 1.0)))


@pytest.mark.parametrize("options", [{}, {"device": "cpu:0"}, {"keepbits": 5}, {"keepbits": 23}], ids=str)
@pytest.mark.parametrize("params", [{}, {"window": 3, "quantisation_step": 0.01, "min_valid": 9}], ids=str)
def test_maps_and_views_are_those_of_a_fresh_run(
    data: TinyData, tmp_path: Path, options: dict[str, Any], params: dict[str, Any]
) -> None:
    """Both are rounded; the interpolation of logarithms of σ² makes no error larger."""
    job = data.job(cache=str(tmp_path / "kept.zarr"), params=KernelParams(**params), keep=("edge",), **options)
    run(job)
    kept, keys = SigmaCache(job.cache), SigmaCache(job.cache).keys()[::3]
    allowed = (1 + law(job.keepbits)) * (1 + 2.0 ** -(job.keepbits + 1)) - 1 + ARITHMETIC
    for number, other in enumerate(sweep()):
        fresh_job = data.job(cache=str(tmp_path / f"{number}.zarr"), params=KernelParams(**(params | other)), **options)
        run(fresh_job)
        fresh = SigmaCache(fresh_job.cache)
        for key in keys:
            for stride in kept.strides:
                assert_within(kept.read(key, stride, **other), fresh.read(key, stride), allowed)
            for view in VIEWS.values():
                assert_within(kept.sample(key, *view, **other), fresh.sample(key, *view), allowed + 2e-5)


def test_sigma_is_the_same_with_and_without(data: TinyData, own: TinyData) -> None:
    run(own.job())
    kept, plain = SigmaCache(data.job().cache), SigmaCache(own.job().cache)
    for key, stride in product(kept.keys(), kept.strides):
        np.testing.assert_array_equal(kept.read(key, stride), plain.read(key, stride))
        same = kept.read(key, stride, lambda_prior=0.5, alpha_clamp=0.3)
        np.testing.assert_array_equal(same, plain.read(key, stride, lambda_prior=0.5))  # needs no half range
    for key, view in product(kept.keys(), VIEWS.values()):
        np.testing.assert_array_equal(kept.sample(key, *view), plain.sample(key, *view, alpha_clamp=0.3))


def test_annotate_states_the_parameters_that_were_asked_for(data: TinyData) -> None:
    cache = SigmaCache(data.job().cache)
    camera, size = VIEWS["between"]
    for asked, stated in (
        ({"lambda_prior": 2}, [5, 2, 0.3]),
        ({"alpha_clamp": 0.1}, [5, 0.5, 0.1]),
        ({}, [5, 0.5, 0.3]),
    ):
        view = {"depthmap": np.ones(size, np.float32), "camera_intrinsics": camera}
        cache.annotate(view, cache.keys()[0], **asked)
        np.testing.assert_array_equal(view["sigma_Z2"], cache.sample(cache.keys()[0], camera, size, **asked))
        np.testing.assert_array_equal(view["sigma_Z2_params"], np.float32(stated))


def test_data_sets_pass_the_parameters_on(data: TinyData) -> None:
    cache, source = SigmaCache(data.job().cache), data.source()
    frame = source[0]
    view = {"depthmap": frame.depth, "camera_intrinsics": frame.intrinsics, "key": frame.key}
    (got,) = attach([view], cache, alpha_clamp=0.1)
    np.testing.assert_array_equal(got["sigma_Z2"], cache.read(frame.key, alpha_clamp=0.1))
    sample = CachedDepthDataset(source, cache, lambda_prior=4)[0]
    np.testing.assert_array_equal(sample["sigma_Z2"].numpy(), cache.read(frame.key, lambda_prior=4))
    with pytest.raises(ParameterError, match="lambda_prior: expected None with a function as sigma"):
        CachedDepthDataset(source, sigma_z2, lambda_prior=4)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lambda_prior": -1}, "lambda_prior: expected a number from 0 to 1e9, got -1"),
        ({"alpha_clamp": 0}, "alpha_clamp: expected a number from 1e-6 to 1, got 0"),
        ({"alpha_clamp": "0.1"}, "alpha_clamp: expected a number from 1e-6 to 1, got '0.1'"),
        ({"lambda_prior": float("nan")}, "lambda_prior: expected a number from 0 to 1e9, got nan"),
    ],
)
def test_values_out_of_range_are_refused_as_kernel_params_does(
    data: TinyData, asked: dict[str, Any], message: str
) -> None:
    cache = SigmaCache(data.job().cache)
    key, view = cache.keys()[0], VIEWS["a crop"]
    for read in (lambda: cache.read(key, **asked), lambda: cache.sample(key, *view, **asked)):
        with pytest.raises(ParameterError) as error:
            read()
        assert str(error.value) == message
    with pytest.raises(ParameterError, match=message.partition(":")[0]):
        KernelParams(**asked)


def test_a_cache_without_it_says_how_to_get_it(own: TinyData) -> None:
    run(own.job())
    cache = SigmaCache(own.job().cache)
    key = cache.keys()[0]
    view = {"depthmap": np.ones((16, 20), np.float32), "camera_intrinsics": VIEWS["a crop"][0]}
    want = (
        f"{own.job().cache}: expected lambda_prior=0.5 and alpha_clamp=0.3, with which it was computed, got "
        "lambda_prior=2; for any others compute it with `precompute run --keep edge`"
    )
    for read in (
        lambda: cache.read(key, 2, lambda_prior=2),
        lambda: cache.sample(key, *VIEWS["a crop"], lambda_prior=2),
        lambda: cache.annotate(view, key, lambda_prior=2),
    ):
        with pytest.raises(ParameterError) as error:
            read()
        assert str(error.value) == want
    assert "sigma_Z2" not in view


@pytest.mark.parametrize(
    ("params", "kind"), [(Difference(), "estimator 'difference'"), (KernelParams(compat="pi3"), "compat='pi3'")]
)
def test_where_there_is_no_law_run_and_reader_refuse(own: TinyData, params: Any, kind: str) -> None:
    job = own.job(params=params)
    with pytest.raises(ParameterError, match=r"^keep: edge needs .* got .*; leave --keep out$"):
        replace(job, keep=("edge",))
    run(job)
    cache = SigmaCache(job.cache)
    with pytest.raises(ParameterError, match=f"expected neither lambda_prior nor alpha_clamp of a cache with {kind}"):
        cache.read(cache.keys()[0], lambda_prior=0.5)


@pytest.mark.parametrize("keep", ["edge", ("depth",), 1, ("edge", "x")])
def test_only_edge_can_be_kept(own: TinyData, keep: Any) -> None:
    with pytest.raises(ParameterError, match=r"keep: expected nothing, or \('edge',\), got "):
        own.job(keep=keep)


@pytest.mark.parametrize("flags", ["--compat pi3", "--estimator difference"])
def test_the_command_refuses_before_it_writes(own: TinyData, flags: str) -> None:
    out = own.root / "new.zarr"
    typed = ["run", "--dataset", str(own.toml), "--out", str(out), "--keep", "edge", *flags.split()]
    result = CliRunner().invoke(main, typed)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert "edge needs " in result.stderr
    assert not list(own.root.glob("new.zarr*"))


# ---- parameters, runs, validation ----


def test_it_is_a_parameter_that_is_recorded_only_where_it_is_used(own: TinyData) -> None:
    plain, kept = own.job(), own.job(keep=("edge",))
    assert kept.parameters() == plain.parameters() | {"keep": ["edge"]}
    assert "keep" not in plain.parameters()
    run(plain)
    attributes = json.loads((Path(plain.cache) / "zarr.json").read_text())["attributes"]
    assert attributes["units"] == {"sigma_Z2": "m2", "depth": "m", "intrinsics": "px"}
    with pytest.raises(CacheError, match=r"keep is None in the cache and \['edge'\] in this run; pass --overwrite"):
        run(kept)
    run(kept, overwrite=True)
    assert SigmaCache(kept.cache).params["keep"] == ["edge"]
    assert SigmaCache(kept.cache).attributes["units"]["edge"] == "1"
    with pytest.raises(CacheError, match=r"keep is \['edge'\] in the cache and None in this run"):
        run(plain)


def test_a_cache_that_claims_to_keep_something_else_is_damaged(data: TinyData, tmp_path: Path) -> None:
    from depthvar.datasets.cache.attributes import check_root, seal

    attributes = SigmaCache(data.job().cache).attributes
    for keep in (["depth"], [], "edge", None, ["edge", "edge"]):
        parameters = attributes["parameters"] | {"keep": keep}
        with pytest.raises(CacheError, match=r"keep is .*, which no run writes"):
            check_root(seal(attributes | {"parameters": parameters}), "here")


def test_runs_that_stop_go_on_and_lose_frames(own: TinyData) -> None:
    """Rows that stay are copied with their half range; pruned ones go."""
    job = own.job(keep=("edge",))
    run(job, limit=1)
    assert 0 < len(SigmaCache(job.cache).keys()) < 8
    run(job)
    before = {key: SigmaCache(job.cache).read(key, 2, lambda_prior=2) for key in SigmaCache(job.cache).keys()}
    assert len(before) == 8
    gone, edited = "a/depth/1.npy", "a/depth/0.npy"
    (own.root / gone).unlink()
    np.save(own.root / edited, make_depth(24, 32, 77))
    run(own.job(keep=("edge",)))
    after = SigmaCache(job.cache)
    for key, values in before.items():
        assert (after.read(key, 2, lambda_prior=2) == values).all() == (key != edited)
    run(own.job(keep=("edge",)), prune=True)
    assert sorted(SigmaCache(job.cache).keys()) == sorted(before.keys() - {gone})
    report = validate(job.cache, full=True)
    assert (report.findings, report.recomputed) == ([], 7)
    assert report.chunks == 7 * 6  # three levels of σ² and three of the half range


def array(job: Job, name: str) -> Any:
    return zarr.open_array(f"{job.cache}/a/{name}", mode="r+")


@pytest.mark.parametrize(
    ("value", "check", "finding"),
    [
        (0.625, "recomputation", "a/depth/2.npy, edge_s2 at row 8, column 4: got 0.625 (1 pixels differ)"),
        (1.5, "limits", "a/depth/2.npy, edge_s2: got 1.5 at row 8, column 4, where σ² is finite"),
        (np.inf, "limits", "a/depth/2.npy, edge_s2: got inf at row 8, column 4, where σ² is finite"),
        (-0.5, "limits", "a/depth/2.npy, edge_s2: got -0.5 at row 8, column 4, where σ² is finite"),
        (np.nan, "integrity", "a/depth/2.npy, edge_s2: got missing values (NaN)"),
    ],
)
def test_a_wrong_half_range_is_found_and_repaired(own: TinyData, value: float, check: str, finding: str) -> None:
    job = own.job(keep=("edge",))
    run(job)
    stored = array(job, "edge_s2")
    assert SigmaCache(job.cache).read("a/depth/2.npy", 2)[8, 4] < np.inf
    stored[2, 8, 4] = value
    if not value >= 0:
        with pytest.raises(CacheError, match="stored values are missing, or negative"):
            SigmaCache(job.cache).read("a/depth/2.npy", 2, lambda_prior=2)
    found = {each.check: f"{each.where}: got {each.got}" for each in validate(job.cache, full=True).findings}
    assert found[check] == finding
    validate(job.cache, full=True, clear=True)
    run(own.job(keep=("edge",)))
    assert validate(job.cache, full=True).findings == []


def test_a_half_range_without_sigma_is_found(own: TinyData) -> None:
    job = own.job(keep=("edge",))
    run(job)
    array(job, "edge")[1, 0, 0] = 0.5  # of the sky
    found = [each for each in validate(job.cache, recompute=0).findings if each.check == "limits"]
    assert [each.got for each in found] == ["0.5 at row 0, column 0, where σ² is +inf"]


def test_damage_and_loss_of_the_half_range_are_found_and_repaired(own: TinyData) -> None:
    job = own.job(keep=("edge",))
    run(job)
    shard = Path(job.cache) / "a/edge/c.0.0.0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CacheError, match="CRC32C"):
        SigmaCache(job.cache).read("a/depth/0.npy", lambda_prior=2)
    assert np.isfinite(SigmaCache(job.cache).read("a/depth/0.npy")).any()  # σ² alone is intact
    assert {each.check for each in validate(job.cache, clear=True).findings} == {"integrity"}
    run(own.job(keep=("edge",)))
    assert validate(job.cache, full=True).findings == []
    (Path(job.cache) / "b/edge_s3/zarr.json").unlink()
    assert [each.got for each in validate(job.cache).findings if each.check == "structure"] == ["nothing"]
    run(own.job(keep=("edge",)))
    assert validate(job.cache, full=True).findings == []


def test_another_engine_recomputes_it(data: TinyData, tmp_path: Path) -> None:
    job = data.job(cache=str(tmp_path / "torch.zarr"), device="cpu:0", keep=("edge",))
    run(job)
    assert validate(job.cache, job.source, full=True).findings == []


# ---- the format ----


def test_xarray_opens_it_with_units_and_names(data: TinyData) -> None:
    group = xarray.open_zarr(data.job().cache, group="a", consolidated=False)
    edge, sigma = group["edge_s2"], group["sigma_Z2_s2"]
    assert (edge.dims, edge.shape, edge.dtype) == (sigma.dims, sigma.shape, np.float32)
    names = {"quantity": "edge", "units": "1", "stride": 2}
    assert {name: edge.attrs[name] for name in names} == names
    assert edge.attrs["long_name"] == "half the range of distances in the window, divided by the distance"
    np.testing.assert_array_equal(np.isfinite(edge), np.isfinite(sigma))


def test_a_shard_is_bounded_over_all_that_is_stored(own: TinyData) -> None:
    strides = (1, 2, 3, 4, 6, 8)
    plain, kept = (own.job(strides=strides, keep=keep, with_depth=True).maps for keep in ((), ("edge",)))
    assert shard_frames(480, 640, plain.arrays.values()) == (96 << 20) // (4 * (450_991 + 307_200))
    assert shard_frames(480, 640, kept.arrays.values()) == (96 << 20) // (4 * (2 * 450_991 + 307_200))
    once, twice = (plan(own.source(), own.root / "new.zarr", strides=(1, 2), keep=keep) for keep in ((), ("edge",)))
    assert twice.raw_bytes == 2 * once.raw_bytes


def test_info_and_api_know_it(own: TinyData) -> None:
    out = own.root / "api.zarr"
    assert run_api(own.source(), out, strides=(1, 2), keep=["edge"], threads=1).computed == 8
    facts = cache_info(str(out))
    assert 0.1 < facts["bytes_per_pixel_edge"] < 8
    sizes = sum(path.stat().st_size for path in out.glob("*/edge*/*"))
    assert facts["bytes_per_pixel_edge"] == pytest.approx(sizes / (7 * 24 * 32 + 26 * 32), abs=2e-3)
    shown = CliRunner().invoke(main, ["info", str(out)]).stdout
    assert f"; {facts['bytes_per_pixel_edge']:.2f} for edge\n" in shown
    assert "keep edge\n" in shown


def test_at_a_url_it_is_pinned_and_kept_as_sigma_is(proxy: Proxy, own: TinyData, tmp_path: Path) -> None:
    url = f"s3://bucket/{uuid.uuid4().hex}/sigma_Z2.zarr"
    for job in (own.job(cache=url, keep=("edge",)), own.job(keep=("edge",))):
        run(job)
    here, key, view = SigmaCache(own.job().cache), "b/depth/1.npy", VIEWS["between"]
    want = here.read(key, 3, lambda_prior=2), here.sample(key, *view, alpha_clamp=0.1)
    for number, how in enumerate(({}, {"read_cache": tmp_path / "kept"}, {"read_cache": tmp_path / "kept"})):
        there = SigmaCache(url, **how)
        proxy.seen.clear()
        np.testing.assert_array_equal(there.read(key, 3, lambda_prior=2), want[0])
        np.testing.assert_array_equal(there.sample(key, *view, alpha_clamp=0.1), want[1])
        maps = [span for method, path, span in proxy.seen if method == "GET" and "/edge" in path and "=-" not in span]
        assert (len(maps) > 0) == (number < 2)
    np.save(own.root / key, make_depth(24, 32, 99))
    own.age()
    np.save(own.root / key, make_depth(24, 32, 99))
    run(own.job(cache=url, keep=("edge",)))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(SigmaCache(url).read(key, 3, lambda_prior=2), want[0])
