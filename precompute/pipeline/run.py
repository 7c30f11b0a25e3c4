"""A run from end to end: survey the source, plan, prepare the cache, execute. The command line only prints."""

import logging
import platform
from collections.abc import Generator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from depthvar.datasets.cache.attributes import FORMAT, FORMAT_VERSION, check_root, differences, unseal
from depthvar.datasets.cache.bookkeeping import Bookkeeping, RowState, read_group
from depthvar.datasets.cache.store import Store, open_store
from depthvar.datasets.errors import CacheError, ParameterError
from depthvar.precompute.kernel.numba_engine import warm_up

from . import remove, write
from .execute import Execute
from .fingerprint import fingerprint
from .job import Job, TaskResult
from .lock import creating, writer_lock
from .plan import Plan, choose, make_plan
from .shards import GroupPlan, ShardPlan, group_change, make_shard_plan
from .survey import survey

log = logging.getLogger("depthvar")


def plan_run(
    job: Job,
    *,
    overwrite: bool = False,
    prune: bool = False,
    part: tuple[int, int] | None = None,
    limit: int | None = None,
) -> Plan:
    """Return what :func:`run` would do with the same arguments, without writing anything."""
    store = open_store(job.cache)
    root = write.existing_root(store)
    if root is not None and (overwrite or (part is None and _is_unused(job, store, root))):
        root = None
    shards = _plan(job, store, root, prune)
    own = shards.part(part)
    return make_plan(job, shards, own, choose(own, limit))


def run(
    job: Job,
    execute: Execute,
    *,
    overwrite: bool = False,
    prune: bool = False,
    part: tuple[int, int] | None = None,
    limit: int | None = None,
    only_writer: bool = False,
) -> Generator[Plan | TaskResult]:
    """Bring a cache up to date: yields a Plan, then a TaskResult per shard as they finish.

    Options and errors are those of ``depthvar.precompute.run``; also ParameterError for ``overwrite`` with ``part``.
    """
    if overwrite and part is not None:
        raise ParameterError(
            "--overwrite with --part: every part would remove the work of the others; remove the cache first, "
            "or run once with --overwrite --limit 1"
        )
    store = open_store(job.cache)
    with writer_lock(job.cache, part, only_writer) as claim:
        with creating(job.cache, part):
            root = write.existing_root(store)
        if root is not None and (overwrite or (part is None and _is_unused(job, store, root))):
            remove.remove(store, root)
            root = None
        shards = _plan(job, store, root, prune)
        claim(shards.identity(fingerprint(job.parameters() | {"source": job.source.describe()})))
        with creating(job.cache, part):
            _prepare(job, shards, store, part, is_new=root is None and part is None)
        if part is None:
            remove.remove_partial(store)
        own = shards.part(part)
        tasks = choose(own, limit)
        if any(task.action in ("compute", "check") for task in tasks):
            # Compiled or loaded once here, not in every thread, and before anyone draws a progress bar.
            if job.engine == "numba":
                warm_up(job.params.estimator)
            from . import passes  # noqa: F401 # two seconds when first compiled: no line of its own
        yield make_plan(job, shards, own, tasks)
        yield from execute(job, tasks)


def _is_unused(job: Job, store: Store, root: object) -> bool:
    """Return whether a cache of other parameters holds no frame: its first run failed, its options were corrected."""
    attributes = check_root(root, store.url)
    if attributes["fingerprint"] == fingerprint(job.parameters()):
        return False
    return not any(group.count(RowState.DONE) for group in _stored_groups(store, attributes))


def _plan(job: Job, store: Store, root: object | None, prune: bool) -> ShardPlan:
    stored: list[Bookkeeping] = []
    if root is not None:
        attributes = check_root(root, store.url)
        _check_parameters(job, store, attributes)
        stored = _stored_groups(store, attributes)
    frames = survey(job.source, stored, job.on_error)
    return make_shard_plan(frames, stored, job.maps, job.on_error, job.shard_frames, prune)


def _stored_groups(store: Store, attributes: dict[str, Any]) -> list[Bookkeeping]:
    """Return the groups of a cache that are there in full: the others are computed again."""
    groups = store.each(lambda name: read_group(store, name, attributes["parameters"]), attributes["groups"])
    return [group for group in groups if group is not None]


def _check_parameters(job: Job, store: Store, attributes: dict[str, Any]) -> None:
    wanted, name = job.parameters(), job.source.name
    if name not in (attributes["dataset"], *attributes["source"].get("names", ())):
        raise CacheError(
            f"{store.url}: computed from the data set {attributes['dataset']!r}, this run is of {name!r}; "
            "pass --out for a second cache, or --overwrite to replace this one"
        )
    if attributes["fingerprint"] != fingerprint(wanted):
        found = differences(attributes["parameters"], wanted)
        changes = "; ".join(f"{name} is {old!r} in the cache and {new!r} in this run" for name, old, new in found)
        raise CacheError(
            f"{store.url}: computed with other parameters: {changes}; pass --overwrite to compute it again, or --out "
            "for a second cache"
        )
    if attributes["engine"] != job.engine:
        log.warning(
            "%s was begun with the %s engine; this run goes on with %s, which differs in the last digits",
            store.url, attributes["engine"], job.engine,
        )  # fmt: skip


def _prepare(job: Job, plan: ShardPlan, store: Store, part: tuple[int, int] | None, is_new: bool) -> None:
    """Write the metadata that the plan needs; what another part wrote since this one planned is left as it is."""

    def as_it_is_now(group: GroupPlan) -> GroupPlan:
        if part is None or group.change != "new":
            return group
        return replace(group, change=group_change(read_group(store, group.name, job.parameters()), group.rows))

    _describe(job, plan, store)
    write.prepare(store, store.each(as_it_is_now, plan.groups), job.maps, is_new)


def _describe(job: Job, plan: ShardPlan, store: Store) -> None:
    """Write the root, or add to it what is new: groups, and a source whose intrinsics or file names changed.

    The first creator's software, engine and data set name stand.
    """
    root = write.existing_root(store)  # another part may have created it by now
    old = {} if root is None else unseal(root, store.url)
    new = (old or _first_attributes(job)) | {
        "groups": sorted(group.name for group in plan.groups),
        "source": job.source.describe(),
    }
    if new != old:
        write.write_root(store, new)


def _first_attributes(job: Job) -> dict[str, Any]:
    parameters = job.parameters()
    packages = ("depthvar", "numpy", "numba", "numcodecs")
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "dataset": job.source.name,
        "camera_model": "pinhole",
        "units": {"sigma_Z2": "m2", "depth": "m", "intrinsics": "px"} | dict.fromkeys(job.keep, "1"),
        "parameters": parameters,
        "fingerprint": fingerprint(parameters),
        "engine": job.engine,
        "software": {"python": platform.python_version()} | {name: version(name) for name in packages},
    }
