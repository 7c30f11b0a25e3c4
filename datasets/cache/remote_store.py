"""The bytes of a cache at any URL that fsspec opens."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from depthvar.datasets.errors import CacheError, hide_credentials

T = TypeVar("T")


class RemoteStore:
    """What fsspec opens: ``s3://``, ``gs://``, ``memory://`` … by its own event loop, where it has one."""

    def __init__(self, url: str) -> None:
        self.url = hide_credentials(url)
        try:
            import fsspec

            fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise CacheError(
                f"{self.url}: expected a folder or a URL that fsspec opens, got an error ({error}); "
                "install the package for that kind of URL"
            ) from error
        self._fs: Any = fs
        self._root = str(root).rstrip("/")

    def get(self, path: str, start: int = 0, stop: int | None = None) -> bytes | None:
        whole = start == 0 and stop is None
        return self._call(
            path,
            "read",
            lambda full: bytes(self._fs.cat_file(full, **({} if whole else {"start": start, "end": stop}))),
        )

    def put(self, path: str, data: bytes) -> None:
        self._call(path, "written", lambda full: self._fs.pipe_file(full, data))

    def delete(self, path: str) -> None:
        self._call(path, "removed", self._fs.rm_file)

    def delete_folder(self, path: str) -> None:
        self._call(path, "removed", lambda full: self._fs.rm(full, recursive=True))

    def delete_all(self, but: str) -> None:
        for path in list(self.list()):
            if path != but:
                self.delete(path)

    def is_empty(self) -> bool:
        return not self._call("", "listed", lambda full: self._fs.ls(full, detail=False))

    def list(self) -> Iterator[str]:
        found = self._call("", "listed", self._fs.find) or []
        yield from (str(path)[len(self._root) :].lstrip("/") for path in found)

    def _call(self, path: str, done: str, act: Callable[[str], T]) -> T | None:
        """Return what ``act`` makes of the full path; None where there is nothing. A fault becomes one line."""
        try:
            return act(f"{self._root}/{path}".rstrip("/"))
        except FileNotFoundError:
            return None
        except MemoryError:
            raise
        except Exception as error:  # each server's package has errors of its own; none of them is about our bytes
            what = " ".join(str(error).split()) or type(error).__name__
            raise CacheError(f"{self.url}/{path}: cannot be {done}: {what}; fix that and try again") from error
