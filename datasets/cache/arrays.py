"""Groups and arrays of a cache, each looked at before it is believed: damaged, foreign, gone, or not to be read."""

from typing import Any, Literal

from depthvar.datasets.errors import REPAIR, CacheError

from .format import GroupLayout, array_metadata, expected_metadata


def is_machine_fault(error: BaseException | None) -> bool:
    """Return whether the machine could not read (too many open files, no permission, …): nothing stored is damaged.

    A part that is gone, or of another kind than it should be, is damage.
    """
    lost = isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError)
    return isinstance(error, OSError) and not lost


def failure(where: str, error: BaseException | str) -> CacheError:
    """Return the error of what cannot be read: by a fault of the machine, or because stored bytes are damaged."""
    if isinstance(error, OSError) and is_machine_fault(error):
        return CacheError(f"{where}: cannot be read: {error.strerror or error}; mend that and try again")
    return CacheError(f"{where}: damaged ({error}); {REPAIR}")


def _as_stored(group: Any) -> Any:
    """Return a group without consolidated metadata: nobody keeps them up to date, and Zarr would believe them."""
    import zarr

    if not isinstance(group, zarr.Group) or group.metadata.consolidated_metadata is None:
        return group
    mode: Literal["r", "r+"] = "r" if group.read_only else "r+"
    return zarr.open_group(group.store_path, mode=mode, zarr_format=3, use_consolidated=False)


def find_node(group: Any, name: str) -> Any:
    """Return a group or array below an open group, None where there is none.

    Raises:
        CacheError: it is damaged, or cannot be read.
    """
    from zarr.core.sync import sync

    try:
        node = _as_stored(_as_stored(group).get(name))
        if node is None and sync((group.store_path / name / "zarr.json").exists()):
            raise ValueError("a field is missing")  # which Zarr takes for a node that is not there
        return node
    except Exception as error:  # whatever Zarr raises
        what = error if is_machine_fault(error) else f"unreadable zarr.json: {error}"
        raise failure(f"{group.store_path}/{name}", what) from error


def find_array(group: Any, name: str) -> Any:
    """Return an array of an open group; CacheError where there is none, or as ``find_node``."""
    import zarr

    node = find_node(group, name)
    if not isinstance(node, zarr.Array):
        got = "nothing" if node is None else "a group"
        raise failure(f"{group.store_path}/{name}", f"expected an array, got {got}")
    return node


def checked_array(group: Any, name: str, layout: GroupLayout, strides: tuple[int, ...] = (1,)) -> Any:
    """Return an array of an open group, once its metadata is what the format implies, but for the number of frames.

    So nothing is allocated, and no codec called, that metadata made by others ask for.

    Raises:
        CacheError: it is not there, is a group, or its metadata says something else.
    """
    array = find_array(group, name)
    expected = expected_metadata(layout, layout.shard_frames, strides, False)[name]
    found = array_metadata(array)
    for field, value in expected.items():
        if found.get(field) != (value if field != "shape" else [*array.shape[:1], *value[1:]]):
            raise CacheError(
                f"{group.store_path}/{name}: {field} is damaged or foreign: expected {value}, got {found.get(field)}; "
                f"{REPAIR}"
            )
    layout.check(array.shape[0], f"{group.store_path}/{name}")
    return array
