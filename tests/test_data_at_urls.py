"""Depth files at a URL: the same frames, keys and cache as in a folder, by few requests; faults are one line."""

import pickle
import re
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401 # whose settings dask.config.set changes
import fsspec
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from object_servers import Proxy, forget_clients
from PIL import Image
from remote_caches import put, upload
from store_credentials import KEY, SECRET
from tiny_data import TinyData, make_depth
from torch.utils.data import DataLoader

from depthvar.datasets import CachedDepthDataset, DepthSource, SigmaCache, attach, open_source
from depthvar.datasets.cache.store import open_store
from depthvar.datasets.errors import DepthVarError, DescriptionError, FrameNotFoundError, SourceError, StoreError
from depthvar.datasets.source import files
from depthvar.precompute import run, validate
from depthvar.precompute.cli.main import main
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline
from depthvar.precompute.pipeline.job import Job
from depthvar.precompute.pipeline.plan import Plan

CAMERA = [40, 40, 16, 12]


@pytest.fixture
def s3(proxy: Proxy) -> str:
    """A place behind the proxy where nothing is yet."""
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture(params=["memory", "s3"])
def url(request: pytest.FixtureRequest) -> str:
    """A place where nothing is yet."""
    place: str = request.getfixturevalue("s3") if request.param == "s3" else f"memory://bucket/{uuid.uuid4().hex}"
    return place


@pytest.fixture(params=["one camera", "cameras and masks"])
def data(request: pytest.FixtureRequest, tiny: TinyData) -> TinyData:
    """The frames, of one constant camera; or with intrinsics and a mask for each frame."""
    if request.param == "one camera":
        text = tiny.toml.read_text().replace('file = "{sequence}/camera/{frame}.txt"', f"constant = {CAMERA}")
    else:
        text = tiny.toml.read_text().replace("[depth]", '[[masks]]\nfile = "{sequence}/mask/{frame}.png"\n[depth]')
        for key in tiny.source().keys():
            mask = (tiny.root / key.replace("depth", "mask")).with_suffix(".png")
            mask.parent.mkdir(exist_ok=True)
            Image.fromarray(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 50).save(mask)
    tiny.toml.write_text(text)
    tiny.shard_frames = 2
    return tiny


def remove(url: str, path: str) -> None:
    fs, root = fsspec.core.url_to_fs(url)
    fs.rm_file(f"{root}/{path}")


def work(job: Job, run_tasks: execute.Execute = execute.serial, **options: Any) -> tuple[Plan, list[Any]]:
    planned, *results = pipeline.run(job, run_tasks, **options)
    assert isinstance(planned, Plan)
    return planned, results


def at(url: str, tiny: TinyData, **changes: Any) -> Job:
    """A job over the data at a URL as it is now; its cache is on the disk."""
    options = {name: changes.pop(name) for name in ("mixed_sizes",) if name in changes}
    cache = {"cache": str(tiny.root.parent / "from_url.zarr")}
    return tiny.job(source=open_source(str(tiny.toml), url, **options), **cache | changes)


def same(one: str, other: str) -> None:
    """Two caches are equal, byte for byte, but for the times and ETags of their sources."""
    here, there = open_store(one), open_store(other)
    paths = [path for path in here.list() if "/source_stat/c." not in path]
    assert paths
    assert sorted(paths) == sorted(path for path in there.list() if "/source_stat/c." not in path)
    assert [path for path in paths if here.get(path) != there.get(path)] == []


def gets(proxy: Proxy) -> list[str]:
    """The paths of objects that were read."""
    return [path for method, path, _ in proxy.seen if method == "GET" and "list-type" not in path]


def lists(proxy: Proxy) -> list[str]:
    return [path for _, path, _ in proxy.seen if "list-type" in path]


# --- the same as in a folder


def test_the_cache_is_that_of_the_folder(url: str, data: TinyData) -> None:
    upload(data.root, url)
    local = data.job()
    work(local)
    planned, _ = work(at(url, data), execute.in_threads(3))
    assert (planned.total, planned.compute) == (8, 8)
    same(at(url, data).cache, local.cache)
    report = validate(at(url, data).cache, url, full=True)
    assert (report.findings, report.warnings, report.recomputed) == ([], [], 8)
    assert validate(local.cache, url, full=True).findings == []


def test_frames_are_those_of_the_folder(url: str, data: TinyData) -> None:
    upload(data.root, url)
    here, there = data.source(), open_source(str(data.toml), f"{url}/")
    assert (there.keys(), there.root, str(there)) == (here.keys(), url, url)
    for one, other in zip(here, there, strict=True):
        assert (one.key, one.intrinsics.tolist()) == (other.key, other.intrinsics.tolist())
        np.testing.assert_array_equal(one.depth, other.depth)
    assert there.shape(here.keys()[0]) == (24, 32)
    assert there.image_path(here.keys()[0]) is None
    before, copy = pickle.dumps(there), pickle.loads(pickle.dumps(there))
    assert len(before) < 2000
    assert copy.keys() == here.keys()
    assert copy.stat(here.keys()[3]) == there.stat(here.keys()[3])


NAMES = st.sampled_from(["a", "depth", "b.zarr", ".c", "0.png", "1.npy", "x_0.png", ".2.png", "σ 1.PNG", "a+b%20?#"])
TEMPLATES = st.sampled_from(
    ["depth/{frame}.png", "{sequence}/depth/{frame}.png", "{sequence}/{frame}.npy", "a/{sequence}/x_{frame}.png",
     "{frame}.png", "{frame}/depth", "{sequence}/{frame}/0.png"]
)  # fmt: skip


def options(template: str) -> dict[str, Any]:
    return {"files": {"depth": template}, "depth": {"container": "png", "dtype": "uint16", "units_per_metre": 1000}}


@settings(deadline=None)
@given(st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=25), TEMPLATES)
def test_keys_are_those_of_a_folder_with_the_same_files(tree: set[tuple[str, ...]], template: str) -> None:
    from depthvar.datasets.source.description import Description

    tables = {"summary": "s", "names": ["n"], "intrinsics": {"constant": CAMERA}} | options(template)
    place = f"memory://bucket/{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for parts in sorted(tree, key=len, reverse=True):
            if not (path := root.joinpath(*parts)).exists() and not any(up.is_file() for up in path.parents):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        for path in root.rglob("*"):
            if path.is_file():
                put(place, path.relative_to(root).as_posix(), b"")
        found = []
        for where in (root, place):
            source = DepthSource("n", Description.from_dict(tables, "n"), where)
            try:
                found.append(source.keys())
            except SourceError as error:
                found.append(str(error).removeprefix(str(source)))  # also what is there instead, in the same words
        assert found[0] == found[1] or (not tree and "no file at all" in str(found))


def test_objects_that_no_folder_could_hold(s3: str) -> None:
    for path in (
        "d/0.npy",
        "d/",
        "d/1.npy/2.npy",
        "d//3.npy",
        "/4.npy",
        "d/.5.npy",
        "d/../6.npy",
        "d/x\\7.npy",
        "x/d/8.npy",
    ):
        put(s3, path, b"x")
    source = open_source("folder", s3, intrinsics=CAMERA, pattern="{sequence}/{frame}.npy")
    assert source.keys() == ["d/0.npy", "d/1.npy/2.npy", "x/d/8.npy"]
    place = f"memory://bucket/{uuid.uuid4().hex}"
    put(place, "d/9\n.npy", b"x")
    with pytest.raises(SourceError, match=rf"{place}/d/9\\n.npy: expected no control characters"):
        open_source("folder", place, intrinsics=CAMERA, pattern="{sequence}/{frame}.npy").keys()


def test_frames_of_several_sizes(url: str, tiny: TinyData) -> None:
    tiny.write("b", "005", make_depth(12, 20, 5))
    upload(tiny.root, url)
    message = (
        rf"{url}/b/depth/005.npy: expected 24×32 pixels as in the first frame of its sequence, got 12×20: .*--mixed"
    )
    for on_error in ("fail", "skip"):  # no frame counts as unreadable for it
        with pytest.raises(DescriptionError, match=message):
            work(at(url, tiny, on_error=on_error), execute.in_threads(2))
    for cache in (at(url, tiny).cache, str(tiny.root / "new.zarr")):
        work(at(url, tiny, mixed_sizes=True, cache=cache))
        assert validate(cache, url, full=True).findings == []
    work(tiny.job())
    same(cache, tiny.job().cache)


# --- workers


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_worker_processes_list_nothing_and_write_the_same(s3: str, tiny: TinyData, way: str, proxy: Proxy) -> None:
    tiny.shard_frames = 2
    upload(tiny.root, s3)
    work(tiny.job())
    job = at(s3, tiny)
    len(job.source.keys())  # type: ignore[arg-type] # the parent has clients before it forks
    listed = len(lists(proxy))
    with dask.config.set({"distributed.worker.multiprocessing-method": way}):
        work(job, execute.on_dask(workers=2))
    assert len(lists(proxy)) == listed
    same(job.cache, tiny.job().cache)
    assert max(Counter(path for path in gets(proxy) if "depth" in path and path.endswith(".npy")).values()) <= 2


def test_what_a_worker_is_sent_does_not_grow_with_the_data_set(url: str, tiny: TinyData) -> None:
    upload(tiny.root, url)
    before = at(url, tiny)
    before.source.keys()
    small = len(pickle.dumps(before.holding(["b/depth/000.npy"])))
    for number in range(100):
        tiny.write("c", f"{number:03}", make_depth(2, 2, 0))
    upload(tiny.root, url)
    after = at(url, tiny)
    assert len(after.source.keys()) == 108
    assert len(pickle.dumps(after.holding(["b/depth/000.npy"]))) <= small + 10
    local = tiny.job()
    assert local.holding(["b/depth/000.npy"]).source is local.source


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_data_loader(s3: str, tiny: TinyData, way: str, proxy: Proxy) -> None:
    upload(tiny.root, s3)
    work(tiny.job())
    source = open_source(str(tiny.toml), s3)
    keys = source.keys()
    source.read(keys[0])  # the parent has clients before it forks
    loader = DataLoader(
        CachedDepthDataset(source, SigmaCache(tiny.job().cache)),
        batch_size=None, num_workers=2, multiprocessing_context=way,
    )  # fmt: skip
    for key, sample in zip(keys, loader, strict=True):
        frame = tiny.source().read(key)
        np.testing.assert_array_equal(sample["depth"].numpy(), np.where(frame.valid, frame.depth, 0))


# --- requests


def test_requests_are_one_for_each_file_and_pages_of_lists(s3: str, data: TinyData, proxy: Proxy) -> None:
    upload(data.root, s3)
    proxy.seen.clear()
    work(at(s3, data))
    listed, read = len(lists(proxy)), Counter(gets(proxy))
    each = 1 if "constant" in data.toml.read_text() else 3  # depth; camera and mask
    heads = [path for _, path, span in proxy.seen if span]
    assert len(heads) == 2  # of the first frame of each sequence
    assert sum(read.values()) == 8 * each + 2
    assert listed == len(proxy.seen) - sum(read.values()) == 3  # the root, and what is below each folder in it
    for number in range(20):
        data.write("b", f"1{number:02}", make_depth(24, 32, number))
        if each == 3:
            mask = data.root / "b/mask/000.png"
            (data.root / f"b/mask/1{number:02}.png").write_bytes(mask.read_bytes())
    upload(data.root, s3)
    proxy.seen.clear()
    work(at(s3, data))
    assert len(lists(proxy)) == listed
    assert set(Counter(gets(proxy)).values()) <= {1, 2}
    proxy.seen.clear()
    planned, _ = work(at(s3, data))  # nothing to do
    assert (planned.shards, planned.done) == (0, 28)
    assert len(proxy.seen) == len(lists(proxy)) == listed
    proxy.seen.clear()
    report = validate(at(s3, data).cache, s3, recompute=0)
    assert (report.findings, report.recomputed) == ([], 0)
    assert len(proxy.seen) == len(lists(proxy)) == listed
    proxy.seen.clear()
    validate(at(s3, data).cache, s3, recompute=3)
    assert len(gets(proxy)) == 3 * each
    assert len(lists(proxy)) == listed


@pytest.mark.slow
def test_a_listing_of_more_than_a_page(s3: str, proxy: Proxy) -> None:
    for number in range(1100):
        put(s3, f"d/{number:04}.npy", b"x")
    proxy.seen.clear()
    source = open_source("folder", s3, intrinsics=CAMERA, pattern="{sequence}/{frame}.npy")
    assert len(source.keys()) == 1100
    assert len({source.stat(key).hash63 for key in source.keys()}) == 1100
    assert len(proxy.seen) == len(lists(proxy)) == 3


def test_parts_plan_the_same(s3: str, tiny: TinyData) -> None:
    tiny.shard_frames = 2
    upload(tiny.root, s3)
    for part in ((2, 2), (1, 2)):
        work(at(s3, tiny), part=part)
    work(tiny.job())
    same(at(s3, tiny).cache, tiny.job().cache)


# --- changes


def test_a_changed_object_is_computed_again_and_no_other(s3: str, data: TinyData) -> None:
    upload(data.root, s3)
    work(at(s3, data))
    upload(data.root, s3)  # the same bytes: the same ETags
    assert work(at(s3, data))[0].shards == 0
    np.save(data.root / "a/P0/depth/002.npy", make_depth(24, 32, 50))
    upload(data.root, s3)
    _, results = work(at(s3, data))
    assert [(result.group, result.start, result.computed) for result in results] == [("a/P0", 2, 2)]
    data.write("b", "001", make_depth(24, 32, 1), fx=44.0)
    upload(data.root, s3)
    _, results = work(at(s3, data))
    has_cameras = "camera" in data.toml.read_text()
    assert [(result.group, result.start) for result in results] == ([("b", 0)] if has_cameras else [])
    work(data.job())
    report = validate(at(s3, data).cache, s3, full=True)
    assert (report.findings, report.recomputed) == ([], 8)


def test_another_constant_camera_concerns_every_frame(url: str, tiny: TinyData) -> None:
    upload(tiny.root, url)
    text = tiny.toml.read_text()
    for camera, computed in (([40, 40, 16, 12], 8), ([44, 40, 16, 12], 8)):
        tiny.toml.write_text(text.replace('file = "{sequence}/camera/{frame}.txt"', f"constant = {camera}"))
        assert sum(result.computed for result in work(at(url, tiny))[1]) == computed
    assert validate(at(url, tiny).cache, url, full=True).findings == []


def test_an_object_without_an_etag_is_known_by_size_and_time() -> None:
    place = f"memory://bucket/{uuid.uuid4().hex}"
    put(place, "d/0.npy", b"x")
    before = files.Bucket(place, ("d/{frame}.npy",)).status("d/0.npy")
    assert before[0] == 1
    put(place, "d/0.npy", b"y")
    after = files.Bucket(place, ("d/{frame}.npy",)).status("d/0.npy")
    assert after[1] != before[1]
    assert after[2] > before[2] > 1.7e18
    odd = files._status({"size": 3, "created": "yesterday"})
    assert odd[2] > 2e18  # never old enough to be trusted
    assert files._status({"size": 3})[2] > 2e18


def test_an_object_that_goes_away_before_it_is_read(url: str, tiny: TinyData) -> None:
    upload(tiny.root, url)
    key = "a/P0/depth/002.npy"
    content = (tiny.root / key).read_bytes()
    job = at(url, tiny, on_error="skip")
    job.source.keys()
    remove(url, key)
    _, results = work(job)
    failed = [failure for result in results for failure in result.failed]
    message = f"{url}/{key}: no such file; is the data set complete below its root?"
    assert failed == [(key, message)]
    put(url, key, content)  # the very same object again
    _, results = work(at(url, tiny, on_error="skip"))
    assert sum(result.computed for result in results) == 5
    work(tiny.job())
    same(job.cache, tiny.job().cache)
    job = at(url, tiny, cache=str(tiny.root / "other.zarr"))
    job.source.keys()
    remove(url, key)
    with pytest.raises(SourceError, match=re.escape(message)):
        work(job)


def test_an_object_that_changes_before_it_is_read(url: str, tiny: TinyData) -> None:
    upload(tiny.root, url)
    key = "a/P0/depth/002.npy"
    job = at(url, tiny, on_error="skip")
    job.source.keys()
    np.save(tiny.root / key, make_depth(24, 32, 50) if url.startswith("s3") else make_depth(24, 33, 50))
    upload(tiny.root / "a", f"{url}/a")
    _, results = work(job)
    failed = [failure for result in results for failure in result.failed]
    assert failed == [(key, f"{url}/{key}: changed since the data set was listed; run again when it is complete")]
    if url.startswith("s3"):
        work(at(url, tiny, on_error="skip"))
        work(tiny.job())
        same(job.cache, tiny.job().cache)


def test_a_file_of_a_frame_that_is_missing(url: str, tiny: TinyData) -> None:
    upload(tiny.root, url)
    remove(url, "b/camera/001.txt")
    with pytest.raises(SourceError, match=rf"{url}/b/camera/001.txt: cannot be read \(no such object\): is the data"):
        work(at(url, tiny))
    put(url, "b/camera/001.txt", b"")
    with pytest.raises(SourceError, match=rf"{url}/b/camera/001.txt: the file is empty"):
        work(at(url, tiny))


def test_unusual_intrinsics_are_warned_of_as_in_a_folder(tiny: TinyData, caplog: pytest.LogCaptureFixture) -> None:
    for path in tiny.root.rglob("*.txt"):
        path.write_text("40 90 16 12")
    place = f"memory://bucket/{uuid.uuid4().hex}"
    upload(tiny.root, place)
    said = []
    for job in (tiny.job(), at(place, tiny)):
        caplog.clear()
        work(job)
        said.append([record.getMessage() for record in caplog.records if "unusual" in record.getMessage()])
    assert said[0] == said[1]
    assert len(said[0]) == 1


def test_damaged_objects_fail_as_damaged_files_do(url: str, tiny: TinyData) -> None:
    path = tiny.root / "b/depth/001.npy"
    path.write_bytes(path.read_bytes()[:-8])
    (tiny.root / "b/camera/002.txt").write_text("1 2 3")
    upload(tiny.root, url)
    failures = []
    for job in (tiny.job(on_error="skip"), at(url, tiny, on_error="skip")):
        planned, results = work(job)
        found = dict([*planned.failed, *(failure for result in results for failure in result.failed)])
        failures.append({key: text.replace(str(job.source), "") for key, text in found.items()})
        assert sum(result.computed for result in results) == 6
    assert failures[0] == failures[1]
    assert set(failures[0]) == {"b/depth/001.npy", "b/depth/002.npy"}


# --- servers


def test_requests_that_fail_are_made_again(s3: str, tiny: TinyData, proxy: Proxy) -> None:
    upload(tiny.root, s3)
    left: list[int | str] = ["drop", 503, "cut"]
    proxy.fault = lambda method, path, _: left.pop(0) if left and "list-type" in path else None
    source = open_source(str(tiny.toml), s3)
    assert source.keys() == tiny.source().keys()
    assert left == []
    left += [500, "cut", "lost"]
    proxy.fault = lambda method, path, _: left.pop(0) if left and path.endswith(".npy") else None
    job = at(s3, tiny)
    work(job)
    assert left == []
    work(tiny.job())
    same(job.cache, tiny.job().cache)


@pytest.mark.parametrize("status", [403, pytest.param(503, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["list-type", "/003.npy"])
def test_a_server_that_refuses_ends_the_run_in_one_line(
    s3: str, tiny: TinyData, proxy: Proxy, status: int, what: str
) -> None:
    """Also where broken frames are skipped: none counts as broken for it."""
    upload(tiny.root, s3)
    proxy.fault = lambda method, path, _: status if what in path else None
    done = "listed" if what == "list-type" else "read"
    refused = r"the store refuses access \(.+\); give credentials that allow it by AWS_ACCESS_KEY_ID and .+"
    message = refused if status == 403 else ".+; fix that and try again"
    with pytest.raises(StoreError, match=rf"^{s3}/\S*: cannot be {done}: {message}$"):
        work(at(s3, tiny, on_error="skip"))
    proxy.fault = None
    planned, results = work(at(s3, tiny, on_error="skip"))
    assert (planned.failed, sum(len(result.failed) for result in results)) == ((), 0)
    assert validate(at(s3, tiny).cache, s3, full=True).findings == []
    proxy.fault = lambda method, path, _: status if what in path else None
    with pytest.raises(StoreError, match=rf"^{s3}/\S*: cannot be {done}: "):
        validate(at(s3, tiny).cache, s3, full=True)


def typed(*words: str) -> Any:
    return CliRunner().invoke(main, ["run", "--strides", "1,2", *words])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (
            "s3://no-such-bucket/x",
            "s3://no-such-bucket/x: no depth file matches .*, found no file at all: check --root",
        ),
        ("s3://bucket/nothing", "s3://bucket/nothing: no depth file matches .*, found no file at all: check --root"),
        ("s3://KEYID:s/ecret@bucket/x", r"s3://\*\*\*@bucket/x: expected a bucket, got credentials next to it; give"),
        (
            "nosuch://x/y",
            "nosuch://x/y: expected a folder or a URL that fsspec opens, got an error .*Protocol not known",
        ),
        ("abfs://container/x", r"abfs://container/x: expected .* pip install 'depthvar\[azure\]'"),
        ("s3://", "root: expected a bucket and a folder after the scheme, got s3://"),
    ],
)
def test_what_is_no_data_set_is_one_line(
    proxy: Proxy, tiny: TinyData, place: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    result = typed("--dataset", str(tiny.toml), "--root", place, "--out", str(tiny.root / "x.zarr"))
    assert result.exit_code in (1, 2)
    assert re.search(f"^error: {message}", result.output), result.output
    assert result.output.count("\n") == 1
    assert "ecret" not in result.output
    assert not (tiny.root / "x.zarr").exists()


def test_no_credentials_are_one_line(proxy: Proxy, tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    forget_clients()
    result = typed("--dataset", str(tiny.toml), "--root", "s3://bucket/x", "--out", str(tiny.root / "x.zarr"))
    assert result.output == (
        "error: s3://bucket/x/: cannot be listed: the store refuses access (Unable to locate credentials); give "
        "credentials that allow it by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role "
        "(docs/object-stores.md)\n"
    )


def test_where_no_data_are_the_cache_and_its_lock_are_none(url: str, tiny: TinyData) -> None:
    def error() -> str:
        return str(typed("--dataset", str(tiny.toml), "--root", url).output)

    assert f"error: {url}: no depth file matches '{{sequence}}/depth/{{frame}}.npy', found no file at all: " in error()
    for path in ("zarr.json", "a/zarr.json", "a/digest/c.0.0"):
        put(url, f"old.zarr/{path}", b"{}")
    put(url, "other.lock/1-of-2", b"{}")
    assert "found no file at all: " in error()
    put(url, "notes.txt", b"x")
    assert "found 1 .txt, such as notes.txt: " in error()


def test_credentials_are_nowhere(s3: str, tiny: TinyData, capfd: pytest.CaptureFixture[str], proxy: Proxy) -> None:
    upload(tiny.root, s3)
    cache = tiny.root / "x.zarr"
    arguments = ["--dataset", str(tiny.toml), "--root", s3, "--out", str(cache)]
    said = "".join(typed(*arguments, *more).output for more in ((), ("--json",), ("--dry-run",)))
    proxy.fault = lambda method, path, _: 403
    said += typed(*arguments).output + "".join(capfd.readouterr()) + repr(at(s3, tiny)) + str(at(s3, tiny).source)
    stored = b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file())
    assert "8 frames computed" in said
    assert "cannot be listed" in said
    for secret in (KEY, SECRET):
        assert secret not in said
        assert secret.encode() not in stored
    hidden = f"memory://{KEY}:t0ken@bucket/{uuid.uuid4().hex}"  # where it is a folder's name, and no bucket
    upload(tiny.root, hidden)
    job = at(hidden, tiny)
    with pytest.raises(DepthVarError) as caught:
        job.source.read("b/depth/9.npy")
    for text in (repr(job), str(job.source), str(caught.value), repr(SigmaCache(cache, root=hidden))):
        assert "t0ken" not in text
    assert "***" in str(caught.value)


# --- next to it: the cache, look-ups, descriptions, images


def test_the_cache_lies_next_to_the_data_and_finds_it(s3: str, tiny: TinyData, proxy: Proxy) -> None:
    upload(tiny.root, s3)
    put(s3, "tiny.toml", tiny.toml.read_bytes())
    arguments = ["--dataset", f"{s3}/tiny.toml"]
    assert "8 frames computed" in typed(*arguments).output
    assert "0 frames computed, 8 unchanged" in typed(*arguments).output  # the cache is no sequence
    cache = f"{s3}/sigma_Z2.zarr"
    report = validate(cache, full=True)
    assert (report.findings, report.warnings, report.recomputed) == ([], [], 8)
    run(tiny.source(), strides=(1, 2))
    same(cache, f"{tiny.root}/sigma_Z2.zarr")
    alone = f"s3://bucket/{uuid.uuid4().hex}/deep/x.zarr"
    run(tiny.source(), alone, strides=(1, 2))
    (warning,) = validate(alone).warnings
    assert f"no frame of the cache in {alone.removesuffix('/x.zarr')}" in str(warning)
    proxy.fault = lambda method, path, _: 403 if "list-type" in path and "deep%2Fx.zarr" not in path else None
    (warning,) = validate(alone).warnings  # a folder that may not be listed is no fault of the cache


def test_frames_are_found_by_their_url(tiny: TinyData) -> None:
    place = f"memory://bucket/{uuid.uuid4().hex}"
    upload(tiny.root, place)
    key, source = "b/depth/001.npy", open_source(str(tiny.toml), place)
    run(source)
    run(tiny.source())
    here, there = SigmaCache(f"{tiny.root}/sigma_Z2.zarr", root=place), SigmaCache(f"{place}/sigma_Z2.zarr")
    for cache in (here, there, pickle.loads(pickle.dumps(there))):
        for name in (key, f"{place}/{key}", f"{source.root}//{key}"):
            assert cache.relative_key(name) == key
            np.testing.assert_array_equal(cache.read(name), here.read(key))
        with pytest.raises(FrameNotFoundError, match=rf"^memory://other/{key}: not below the root {place}; pass root="):
            cache.read(f"memory://other/{key}")
        with pytest.raises(FrameNotFoundError, match=rf"^/data/{key}: not below the root {place}; pass root="):
            cache.read(f"/data/{key}")
    local = SigmaCache(f"{tiny.root}/sigma_Z2.zarr")
    with pytest.raises(FrameNotFoundError, match=rf"^{place}/{key}: not below the root {tiny.root}; pass root="):
        local.read(f"{place}/{key}")
    frame = source.read(key)
    views = [{"depthmap": frame.depth, "camera_intrinsics": np.diag([40.0, 40, 1]), "key": f"{place}/{key}"}]
    views[0]["camera_intrinsics"][:2, 2] = frame.intrinsics[2:]
    np.testing.assert_array_equal(attach(views, there)[0]["sigma_Z2"], here.read(key))


def test_a_root_by_every_way_to_say_it(tiny: TinyData, monkeypatch: pytest.MonkeyPatch) -> None:
    name = uuid.uuid4().hex
    place = f"memory://bucket/{name}"
    for key in tiny.source().keys():
        put(f"{place}/hospital", key, (tiny.root / key).read_bytes())
    options: dict[str, Any] = {"intrinsics": CAMERA, "pattern": "{sequence}/depth/{frame}.npy"}
    keys = tiny.source().keys()
    for root in (f"{place}/hospital", f"{place}/hospital/", Path(f"{place}/hospital"), f"file://{tiny.root}"):
        assert open_source("folder", root, **options).keys() == keys
    assert open_source("folder", f"file://{tiny.root}", **options).root == tiny.root
    assert open_source("folder", Path(f"file://{tiny.root}"), **options).root == tiny.root
    monkeypatch.setenv("DEPTHVAR_DATA", place)
    assert open_source("hospital", **options).keys() == keys
    monkeypatch.chdir(tiny.root)
    Path("s3:").mkdir()
    assert open_source("folder", "s3:/", intrinsics=CAMERA).root == tiny.root / "s3:"  # a folder of that name


def test_a_description_at_a_url_that_is_not_there() -> None:
    with pytest.raises(DescriptionError, match=r"^memory://bucket/no\.toml: cannot be read \(no such object\): pass"):
        open_source("memory://bucket/no.toml")


def test_images_are_read_from_there_too(tiny: TinyData) -> None:
    text = tiny.toml.read_text().replace("[depth]", 'image = "{sequence}/rgb/{frame}.png"\n[depth]')
    tiny.toml.write_text(text)
    place = f"memory://bucket/{uuid.uuid4().hex}"
    for number, key in enumerate(tiny.source().keys()):
        image = (tiny.root / key.replace("depth", "rgb")).with_suffix(".png")
        image.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((24, 32, 3), number, np.uint8)).save(image)
    upload(tiny.root, place)
    run(tiny.source())
    cache = SigmaCache(f"{tiny.root}/sigma_Z2.zarr")
    here, there = (CachedDepthDataset(source, cache) for source in (tiny.source(), open_source(str(tiny.toml), place)))
    for one, other in zip((here[i] for i in range(8)), (there[i] for i in range(8)), strict=True):
        np.testing.assert_array_equal(one["image"].numpy(), other["image"].numpy())
    remove(place, "b/rgb/001.png")
    with pytest.raises(SourceError, match=rf"{place}/b/rgb/001.png: cannot be read as an image"):
        there[6]


def test_a_read_cache_of_fsspec(tiny: TinyData, tmp_path: Path) -> None:
    place = f"memory://bucket/{uuid.uuid4().hex}"
    upload(tiny.root, place)
    work(tiny.job())
    for kind in ("simplecache", "filecache"):
        job = at(f"{kind}::{place}", tiny, cache=str(tmp_path / f"{kind}.zarr"))
        work(job)
        same(job.cache, tiny.job().cache)


def test_another_rule_of_the_camera_is_another_camera(s3: str, tiny: TinyData) -> None:
    """At a URL intrinsics are not read where nothing has changed, so their rule must count as a change."""
    upload(tiny.root, s3)
    _, results = work(at(s3, tiny))
    assert sum(result.computed for result in results) == len(tiny.source().keys())
    assert work(at(s3, tiny))[0].shards == 0
    tiny.toml.write_text(tiny.toml.read_text().replace("[intrinsics]\n", "[intrinsics]\nsize = [64, 48]\n"))
    _, results = work(at(s3, tiny))
    assert sum(result.computed for result in results) == len(tiny.source().keys())
    key = tiny.source().keys()[0]
    cached = SigmaCache(at(s3, tiny).cache).intrinsics(key)
    np.testing.assert_array_equal(cached, tiny.source().intrinsics(key))
