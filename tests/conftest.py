"""The suite on several CPUs; fixtures: small data sets on disk, and the three ways to run a plan."""

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from object_servers import SERVERS, Proxy, forget_clients
from store_credentials import environment
from tiny_data import TinyData, make_depth

from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline.shards import Task
from depthvar.precompute.pipeline.worker import Job, TaskResult

pytest.register_assert_rewrite("ten_shards", "reference", "remote_caches")  # helpers that assert
hypothesis.settings.register_profile("depthvar", deadline=None)  # machines are shared: time is benchmarks' business
hypothesis.settings.load_profile("depthvar")
# Before torch is imported, here and in every process that a test starts: threads of threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before gcsfs is imported: it asks Google by gRPC about the kind of a bucket, which no server of the tests answers.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
# Before triton is imported: without a GPU, NVIDIA's or AMD's, its programs are interpreted on the CPU.
if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd")):
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite out to four CPUs at most, by files, where nobody said -n, --pdb or which tests."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not hasattr(config, "workerinput")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if whole and cpus > 1 and not config.option.usepdb and getattr(config.option, "numprocesses", 0) is None:
        config.option.numprocesses, config.option.dist = min(cpus, 4), "loadfile"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say in the last lines how many tests of a GPU did not run, and why."""
    yield
    not_run = [report for report in terminalreporter.stats.get("skipped", []) if "gpu" in report.keywords]
    for why, count in Counter(report.longrepr[2].removeprefix("Skipped: ") for report in not_run).items():
        terminalreporter.write_line(f"GPU tests not run: {count} ({why})")


@pytest.fixture(params=["cpu-interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where Triton's programs run: interpreted on the CPU, or for real on a GPU; a process can do only one of them."""
    if request.param == "cuda":
        request.getfixturevalue("gpu")
        return "cuda"
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("Triton compiles for the GPU in this process; TRITON_INTERPRET=1 runs this one")
    return "cpu"


@pytest.fixture
def gpu() -> None:
    """Skip a test, which is marked gpu, where there is none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("TRITON_INTERPRET=1")


@pytest.fixture
def never_waits(gpu: None) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return a context in which an operation that waits for the GPU is an error."""
    import torch

    @contextlib.contextmanager
    def context() -> Iterator[None]:
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # that this mode is a prototype
                torch.cuda.set_sync_debug_mode("error")
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return context


@pytest.fixture
def wandb_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of runs of W&B, which starts over: it keeps the environment of its first use in a process."""
    import wandb

    for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield tmp_path
    wandb.teardown()


@pytest.fixture
def tiny(tmp_path: Path) -> TinyData:
    """Two sequences of five and three frames of 24×32."""
    data = TinyData(tmp_path / "tiny")
    for sequence, count in (("a/P0", 5), ("b", 3)):
        for index in range(count):
            data.write(sequence, f"{index:03}", make_depth(24, 32, index))
    return data


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The scheme and port of an object store: moto's, where a test does not name another one."""
    name = getattr(request, "param", "moto")
    with SERVERS[name](tmp_path_factory.mktemp(name)) as port:
        yield name if name in ("gs", "az") else "s3", port


@pytest.fixture
def proxy(server: tuple[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy before the server, which the environment names as the endpoint."""
    scheme, port = server
    with Proxy(port) as proxy:
        for name, value in environment(proxy.port, scheme, tmp_path).items():
            monkeypatch.setenv(name, value)
        forget_clients()
        yield proxy


@pytest.fixture(params=["serial", "threads", "dask"])
def executor(request: pytest.FixtureRequest) -> Iterator[execute.Execute]:
    """Every way to run tasks; on Dask with one scheduler for the whole session."""
    if request.param == "serial":
        yield execute.serial
    elif request.param == "threads":
        yield execute.in_threads(2)
    else:
        yield execute.on_dask(scheduler=request.getfixturevalue("dask_address"))


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """The address of a Dask cluster of two processes, which take little time while they wait."""
    import dask
    from distributed import LocalCluster

    processes: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0}
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(host="127.0.0.1", dashboard_address="127.0.0.1:0", **processes) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture
def counted() -> Callable[[execute.Execute], tuple[execute.Execute, list[Task]]]:
    """Wrap an executor so that it notes the tasks that it is given."""

    def wrap(run: execute.Execute) -> tuple[execute.Execute, list[Task]]:
        seen: list[Task] = []

        def note(job: Job, tasks: Iterable[Task]) -> Iterator[TaskResult]:
            listed = list(tasks)
            seen.extend(listed)
            return run(job, listed)

        return note, seen

    return wrap
