"""One writer per cache on a server: a lock is an object that only one run can create (a conditional put).

A whole run creates ``<cache>.lock/run``, a part ``<cache>.lock/I-of-N``. Each looks for the other kind after it has
created its own: of two that begin at once, at least one sees the other. A dead run keeps its lock: every message says
whose it is, since when, and what removes it.
"""

import getpass
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from depthvar.datasets.cache.remote_store import RemoteStore
from depthvar.datasets.errors import CacheError

log = logging.getLogger("depthvar")

RUN, CREATE, PROBE = "run", "create", "probe"  # names of locks; a part's is I-of-N
PATIENCE = 300.0  # seconds that a part waits while another one creates the groups
REMOVE = "if it is dead, the same command with --only-writer removes its lock (in Python: only_writer=True)"


class RemoteLock:
    """The locks of a cache behind a URL.

    Args:
        cache: its URL.
        only_writer: the caller says that nobody else writes: locks of dead runs are removed, and a server that ignores
            conditional puts is used without one.
    """

    def __init__(self, cache: str, only_writer: bool = False) -> None:
        self._store = RemoteStore(f"{cache}.lock")
        self._cache, self._only_writer = RemoteStore(cache).url, only_writer

    @contextmanager
    def held(self, part: tuple[int, int] | None) -> Iterator[Callable[[str], None]]:
        """Hold the lock of a run or of a part, as ``lock.writer_lock`` does."""
        own = RUN if part is None else _name(part)
        if self._only_writer:
            for name in self._names() if part is None else (RUN, CREATE, own):
                self._store.delete(name)
        else:
            self._probe()
        note = _note()
        what = "another run" if part is None else f"another run of --part {part[0]}/{part[1]}"
        if not self._store.create(own, _text(note)):
            raise CacheError(f"{self._cache}: {what} is writing it{self._holder(own)}")
        try:
            for other in (RUN,) if part else self._parts():
                if self._store.get(other) is not None:
                    raise CacheError(f"{self._cache}: another run is writing it{self._holder(other)}")

            def claim(identity: str) -> None:
                if part is not None:
                    self._store.put(own, _text(note | {"parts": part[1], "plan": identity}))
                    self._compare(own, part[1], identity)

            yield claim
        finally:
            self._release(own, note["id"])

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Wait until no other part creates what is absent, and keep the others waiting."""
        end, note = time.monotonic() + PATIENCE, _note()
        while not self._store.create(CREATE, _text(note)):
            if time.monotonic() > end:
                raise CacheError(f"{self._cache}: another part still creates its groups{self._holder(CREATE)}")
            time.sleep(0.5)
        try:
            yield
        finally:
            self._release(CREATE, note["id"])

    def is_held(self) -> bool:
        """Return whether a run or a part has its lock there, be it alive or dead."""
        return self._store.get(RUN) is not None or bool(self._parts())

    def _names(self) -> list[str]:
        return list(self._store.list())

    def _parts(self) -> list[str]:
        return [name for name in self._names() if "-of-" in name]

    def _probe(self) -> None:
        """Raise CacheError where the server ignores the condition of a put."""
        name = f"{PROBE}-{uuid.uuid4().hex}"
        try:
            answers = [self._store.create(name, text.encode()) for text in ("first", "second")]
        except BaseException:
            with suppress(CacheError):  # the first error says why
                self._store.delete(name)
            raise
        self._store.delete(name)
        if answers != [True, False]:
            raise CacheError(
                f"{self._cache}: this server ignores conditional puts (If-None-Match), so nothing there can keep two "
                "runs apart; use another server, or pass --only-writer (in Python: only_writer=True) if nobody else "
                "writes this cache"
            )

    def _compare(self, own: str, count: int, identity: str) -> None:
        """Raise CacheError where another part has a different plan; written before the others are read."""
        for other in self._parts():
            note = {} if other == own else self._read(other)
            if "plan" not in note or (note["parts"], note["plan"]) == (count, identity):
                continue
            if self._only_writer:  # of a dead run
                self._store.delete(other)
                continue
            differs = [f"{note['parts']} parts, this one of {count}"] * (note["parts"] != count)
            differs += ["other options or files"] * (note["plan"] != identity)
            raise CacheError(
                f"{self._cache}: {other} belongs to a run of {', and of '.join(differs)}; give every part the same N "
                f"and the same options, and let all see the same files{self._holder(other)}"
            )

    def _release(self, name: str, identity: object) -> None:
        """Remove a lock if it is still ours; a server that fails now leaves it there, and the next run says so."""
        try:
            if self._read(name).get("id") == identity:
                self._store.delete(name)
        except CacheError as error:
            log.warning("%s: its lock could not be removed; the next run needs --only-writer", error)

    def _read(self, name: str) -> dict[str, object]:
        try:
            note = json.loads(self._store.get(name) or b"{}")
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def _holder(self, name: str) -> str:
        note = self._read(name)
        who = f" ({note['who']}, since {note['since']})" if {"who", "since"} <= note.keys() else ""
        return f"{who}; wait until it ends; {REMOVE}"


def _name(part: tuple[int, int]) -> str:
    return f"{part[0]}-of-{part[1]}"


def _note() -> dict[str, object]:
    """Return what a lock says of its holder."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        user = f"user {os.getuid()}"
    who = f"{user} on {socket.gethostname()}, process {os.getpid()}"
    return {"who": who, "since": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", "id": uuid.uuid4().hex}


def _text(note: dict[str, object]) -> bytes:
    return json.dumps(note).encode()
