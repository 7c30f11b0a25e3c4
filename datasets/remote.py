"""Objects of bytes at any URL that fsspec opens: what caches and depth files there have in common."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import CacheError, DepthVarError, hide_credentials, one_line

T = TypeVar("T")
Item = TypeVar("Item")

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
BUCKETS = ("s3", "s3a", "gs", "gcs")
CONNECTIONS = 32  # at once, of a process
POOL = "depthvar-store"  # how the threads are called that wait for them
ATTEMPTS = 6  # of a request that the server refuses for now (500, 503, dropped, slow), with up to 20 s between them


class Remote:
    """What fsspec opens: ``s3://``, ``gs://``, ``memory://`` … by its own event loop, where it has one.

    Credentials, endpoint and region are those of the environment or the profile, as the package for that kind of URL
    finds them. A forked process must make its own.

    Attributes:
        url: the root as people read it, without credentials.
        error: what is raised where the server fails or refuses.
        has_tags: whether ``get_tagged`` gives the ETags of objects.
    """

    error: type[DepthVarError] = CacheError

    def __init__(self, url: str) -> None:
        self.url = hide_credentials(url)
        scheme = url.partition("://")[0]
        if scheme in BUCKETS and "://***@" in self.url:  # s3fs would repeat them in its errors
            raise self.error(
                f"{self.url}: expected a bucket, got credentials before it; give them by the environment or the "
                "profile (docs/object-stores.md)"
            )
        try:
            import fsspec

            fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **_options(scheme))  # others write, too
        except (ImportError, ValueError) as error:
            extra = f"pip install 'depthvar[{EXTRAS[scheme]}]'" if scheme in EXTRAS else None
            raise self.error(
                f"{self.url}: expected a folder or a URL that fsspec opens, got an error ({error}); "
                f"{extra or 'install the package for that kind of URL'}"
            ) from error
        self._fs: Any = fs
        self.has_tags = scheme in ("s3", "s3a")
        if self.has_tags:
            fs.retries = 1  # botocore's, by _options, are enough: together they would try for minutes
        self._root = str(root).rstrip("/")

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes | None:
        return self.get_tagged(path, start, stop)[0]

    def each(self, act: Callable[[Item], T], items: Iterable[Item]) -> "list[T]":
        items = list(items)
        if len(items) < 2 or threading.current_thread().name.startswith(POOL):  # no threads of threads
            return [act(item) for item in items]
        with ThreadPoolExecutor(min(len(items), CONNECTIONS), POOL) as pool:
            return [*pool.map(act, items)]

    def get_tagged(self, path: str, start: int = 0, stop: int | None = None) -> tuple[bytes | None, str | None]:
        """Return the same as ``get``, and the ETag: two answers with one ETag are of the same object. None: no tag."""

        def read(full: str) -> tuple[bytes, str | None]:
            if self.has_tags:
                from fsspec.asyn import sync

                answer: tuple[bytes, str | None] = sync(self._fs.loop, _get_object, self._fs, full, start, stop)
                return answer
            part = {} if start == 0 and stop is None else {"start": start, "end": stop}
            return bytes(self._fs.cat_file(full, **part)), None

        return self._call(path, "read", read) or (None, None)

    def _below(self, path: str) -> str:
        """Return a listed path relative to the root; "": the root itself, a folder that SeaweedFS keeps when empty."""
        return str(path)[len(self._root) :].strip("/")

    def _call(self, path: str, done: str, act: Callable[[str], T]) -> T | None:
        """Return what ``act`` makes of the full path; None where there is nothing. A fault becomes one line."""
        try:
            return act(f"{self._root}/{path}".rstrip("/"))
        except FileNotFoundError:
            return None
        except (MemoryError, DepthVarError):
            raise
        except Exception as error:  # each server's package has errors of its own; none of them is about our bytes
            what = one_line(" ".join(str(error).split())) or type(error).__name__
            raise self.error(f"{self.url}/{path}: cannot be {done}: {what}; fix that and try again") from error


async def _get_object(fs: Any, full: str, start: int, stop: int | None) -> tuple[bytes, str | None]:
    """Return a part of an object of S3 and its ETag, by one request; one that breaks off is made again.

    s3fs has no public way to the ETag of an answer.
    """
    import asyncio  # which a folder does not need

    from s3fs.core import S3_RETRYABLE_ERRORS

    bucket, key, _ = fs.split_path(full)
    span = f"bytes={start}" if start < 0 else f"bytes={start}-{'' if stop is None else stop - 1}"
    part = {} if start == 0 and stop is None else {"Range": span}
    for attempt in range(ATTEMPTS):
        try:
            answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, **part)
        except OSError as error:
            if status_code(error) == 416:  # the object ends before
                return b"", None
            raise
        try:
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]
        except S3_RETRYABLE_ERRORS:
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.1 * 2**attempt)
    raise AssertionError


def _options(scheme: str) -> dict[str, Any]:
    """Return what a client must be told: attempts and connections; one request for an object, so that it is one state.

    s3fs by itself does not try again after 500 or 503, and reads a large object by several requests.
    """
    if scheme not in ("s3", "s3a"):
        return {}
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    config = {"retries": retries, "max_pool_connections": CONNECTIONS, "user_agent": "depthvar"}  # botocore's is slow
    return {"max_concurrency": 1, "config_kwargs": config}


def status_code(error: BaseException | None) -> int | None:
    """Return the HTTP status that an error of botocore, or what it is the cause of, came with."""
    while error is not None and not hasattr(error, "response"):
        error = error.__cause__
    response = getattr(error, "response", None)
    return response["ResponseMetadata"].get("HTTPStatusCode") if isinstance(response, dict) else None
