"""The bytes of a cache at any URL that fsspec opens."""

from collections.abc import Iterable, Iterator

from depthvar.datasets.remote import Remote, status_code


class RemoteStore(Remote):
    """A cache at a URL; see :class:`~depthvar.datasets.cache.store.Store`."""

    def put(self, path: str, data: bytes) -> None:
        self._call(path, "written", lambda full: self._fs.pipe_file(full, data))

    def create(self, path: str, data: bytes) -> bool:
        """Write an object if none is there (a conditional put); return whether it is ours. No two put the same data."""

        def put(full: str) -> bool:
            try:
                self._fs.pipe_file(full, data, mode="create")
            except Exception as error:
                if isinstance(error, FileExistsError) or status_code(error) in (409, 412):
                    return self.get(path) == data  # the answer to our first attempt may have been lost
                raise
            return True

        return bool(self._call(path, "created", put))

    def delete(self, path: str) -> None:
        self._call(path, "removed", self._fs.rm_file)

    def delete_folders(self, parent: str, names: Iterable[str]) -> None:
        found = list(self._list(parent))
        for name in names:
            self.each(self.delete, [path for path in found if path.startswith(f"{parent}/{name}/")])

    def delete_all(self, but: str) -> None:
        self.each(self.delete, [path for path in self.list() if path != but])

    def is_empty(self) -> bool:
        def has_object(full: str) -> bool:  # SeaweedFS keeps folders for a while whose objects are gone
            return any(any(filter(None, names)) for _, _, names in self._fs.walk(full, on_error="raise"))

        return not self._call("", "listed", has_object)

    def list(self) -> Iterator[str]:
        return self._list("")

    def _list(self, folder: str) -> Iterator[str]:
        found = self._call(folder, "listed", self._fs.find) or []
        yield from filter(None, map(self._below, found))
