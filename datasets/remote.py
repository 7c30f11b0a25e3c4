"""Objects of bytes at any URL that fsspec opens: what caches and depth files there have in common."""

import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from .errors import CacheError, DepthVarError, hide_credentials, one_line

T = TypeVar("T")
Item = TypeVar("Item")

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
CREDENTIALS = {  # where the package of an extra finds them
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's account",
    "azure": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, "
    "AZURE_STORAGE_SAS_TOKEN or `az login`",
}
MOST_SAID = 300  # characters of a server's words in a message
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
        extra = EXTRAS.get(scheme)
        self._credentials = f"{CREDENTIALS[extra]} (docs/object-stores.md)" if extra else None  # where they come from
        is_user = "://***@" in self.url and not (extra == "azure" and ".core.windows.net" in self.url)
        if extra and (is_user or (extra == "azure" and "?***" in self.url)):  # the package would repeat or store them
            raise self.error(
                f"{self.url}: expected a bucket, got credentials next to it; give them by {self._credentials}"
            )
        try:
            import fsspec

            fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, **_options(scheme))  # others write, too
        except MemoryError:
            raise
        except Exception as error:  # the packages for Google and Azure look for credentials here
            expected = "expected a folder or a URL that fsspec opens"
            cure = "install the package for that kind of URL"
            if extra and isinstance(error, ImportError):
                cure = f"pip install 'depthvar[{extra}]'"
            elif self._credentials:
                expected, cure = "expected credentials", f"give them by {self._credentials}"
            raise self.error(f"{self.url}: {expected}, got an error ({_said(error)}); {cure}") from error
        self._fs: Any = fs
        self.has_tags = scheme in ("s3", "s3a")
        if self.has_tags:
            fs.retries = 1  # botocore's, by _options, are enough: together they would try for minutes
        self._is_azure = extra == "azure"
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
            first = start
            if start < 0 and self._is_azure:  # whose ranges cannot count from the end
                first = max(0, self._fs.size(full) + start)
            part = {} if first == 0 and stop is None else {"start": first, "end": stop}
            try:
                return bytes(self._fs.cat_file(full, **part)), None
            except Exception as error:
                if status_code(error) == 416:  # the object ends before
                    return b"", None
                raise

        return self._call(path, "read", read) or (None, None)

    def _below(self, path: str) -> str:
        """Return a listed path relative to the root; "": the root itself, a folder that SeaweedFS keeps when empty."""
        return str(path)[len(self._root) :].strip("/")

    def _call(self, path: str, done: str, act: Callable[[str], T]) -> T | None:
        """Return what ``act`` makes of the full path; None where there is nothing. A fault becomes one line."""
        try:
            return act(f"{self._root}/{path}".rstrip("/"))
        except (MemoryError, DepthVarError):
            raise
        except Exception as error:  # each server's package has errors of its own; none of them is about our bytes
            if isinstance(error, FileNotFoundError) and done not in ("written", "created"):  # these: no such bucket
                return None
            said = f"{_said(error)}; fix that and try again"
            if self._credentials and _is_refusal(error):
                said = (
                    f"the store refuses access ({_said(error)}); give credentials that allow it by {self._credentials}"
                )
            raise self.error(f"{self.url}/{path}: cannot be {done}: {said}") from error


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
    """Return the HTTP status that an error of a store's package, or what it is the cause of, came with."""
    while error is not None:
        response: Any = getattr(error, "response", None)
        code = response["ResponseMetadata"].get("HTTPStatusCode") if isinstance(response, dict) else None  # botocore
        code = code or getattr(error, "status_code", None) or getattr(error, "code", None)  # Azure; Google
        if isinstance(code, int):
            return code
        error = error.__cause__
    return None


def _is_refusal(error: Exception) -> bool:
    """Return whether an error is about credentials, or what they allow; each package has its own ones for that."""
    known = re.search("Credential|Authentication|Permission", type(error).__name__)
    return bool(known) or status_code(error) in (401, 403) or str(error).startswith("Forbidden: ")  # the last: Google


def _said(error: Exception) -> str:
    """Return what an error says, in one line, without credentials; its name where it says nothing."""
    text = one_line(hide_credentials(" ".join(str(error).split()))) or type(error).__name__
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]} …"
