"""A description is checked strictly, goes to JSON and back, and those in the package are complete."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthvar.datasets import DepthSource
from depthvar.datasets.errors import DescriptionError
from depthvar.datasets.source.camera import CameraRule
from depthvar.datasets.source.catalogue import builtin_descriptions, find_description
from depthvar.datasets.source.description import Description
from depthvar.datasets.source.numbers import NumbersRule
from depthvar.precompute.pipeline.job import Job

INF = float("inf")
TABLES: dict[str, Any] = {
    "summary": "a data set",
    "names": ["mine"],
    "files": {"depth": "{sequence}/depth/{frame}.png"},
    "depth": {"container": "png", "dtype": "uint16", "units_per_metre": 1000},
    "intrinsics": {"constant": [500, 500, 320, 240]},
}


def changed(section: str, **fields: Any) -> dict[str, Any]:
    """Return TABLES with some fields set, or taken away where None."""
    tables = {name: dict(value) if isinstance(value, dict) else value for name, value in TABLES.items()}
    table = tables.setdefault(section, {}) if section else tables
    table.update(fields)
    for name in [name for name, value in fields.items() if value is None]:
        del table[name]
    return tables


FAR: list[Any] = [INF, "inf", 1, 7.5, 65535]
DEPTH: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "container": st.sampled_from(["npy", "png"]),
        "dtype": st.lists(st.sampled_from(["uint16", "float32", "float16"]), min_size=1, max_size=2),
        "units_per_metre": st.floats(0.001, 1e6),
    },
    optional={
        "view": st.sampled_from(["<f2", "<f4"]),
        "kind": st.sampled_from(["z", "ray"]),
        "max_depth": st.one_of(st.floats(0.1, 1e6), st.just(INF), st.just("inf")),
        "unknown": st.lists(st.floats(-10, 0), min_size=1, max_size=3),
        "far": st.lists(st.sampled_from(FAR), min_size=1, max_size=3),
    },
)
CAMERA: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"constant": st.lists(st.floats(1, 5000), min_size=4, max_size=4)}),
    st.sampled_from([{}, {"file": "{sequence}/K.txt"}, {"file": "{sequence}/{frame}.npy"}, {"file": "K.txt"}]),
)
PATHS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"depth": st.sampled_from(["{sequence}/d/{frame}.png", "{sequence}/{frame}/z.npy"])},
    optional={"image": st.just("{sequence}/{frame}.jpg")},
)


@settings(deadline=None)
@given(DEPTH, CAMERA, PATHS, st.booleans())
def test_a_description_survives_json_and_pickle(
    depth: dict[str, Any], camera: dict[str, Any], files: dict[str, Any], homepage: bool
) -> None:
    tables = {**TABLES, "depth": depth, "intrinsics": camera, "files": files}
    if homepage:
        tables["homepage"] = "https://example.org"
    first = Description.from_dict(tables, "a.toml")
    text = json.dumps(first.to_dict(), allow_nan=False)
    again = Description.from_dict(json.loads(text), "b.toml")
    assert again == first
    assert hash(again) == hash(first)
    assert again.to_dict() == first.to_dict()
    assert pickle.loads(pickle.dumps(first)) == first
    if "constant" in camera:
        assert first.intrinsics == CameraRule(tuple(camera["constant"]), None)
    else:
        assert first.intrinsics == (CameraRule(None, NumbersRule(camera["file"])) if camera else None)


@settings(deadline=None)
@given(DEPTH, st.one_of(st.none(), st.floats(0.1, 100)))
def test_the_decode_rule_is_all_of_depth_but_its_maximum(depth: dict[str, Any], maximum: float | None) -> None:
    depth.pop("max_depth", None)

    def rule_of(depth: dict[str, Any]) -> dict[str, Any]:
        source = DepthSource("a", Description.from_dict({**TABLES, "depth": depth}, "a"), ".")
        found: dict[str, Any] = Job("a.zarr", source).parameters()["decode_rule"]
        return found

    rule = rule_of(depth)
    assert rule_of(depth if maximum is None else {**depth, "max_depth": maximum}) == rule
    assert rule_of({**depth, "units_per_metre": depth["units_per_metre"] * 2}) != rule
    assert json.loads(json.dumps(rule, allow_nan=False)) == rule


@pytest.mark.parametrize(
    ("depth", "unknown", "far"),
    [
        ({}, (0, 65535), ()),
        ({"far": [65535]}, (0,), (65535,)),
        ({"far": [0]}, (65535,), (0,)),
        ({"far": [0, 65535]}, (), (0, 65535)),
        ({"dtype": "float32"}, (0,), ()),
        ({"dtype": ["float32", "uint16"]}, (0, 65535), ()),
        ({"view": "<f2"}, (0,), ()),
        ({"unknown": [7]}, (7,), ()),
        ({"far": ["inf"]}, (0, 65535), (INF,)),
        ({"far": [INF]}, (0, 65535), (INF,)),
    ],
)
def test_what_is_unknown_by_default(depth: dict[str, Any], unknown: tuple[float, ...], far: tuple[float, ...]) -> None:
    rule = Description.from_dict(changed("depth", **depth), "a").depth
    assert (rule.unknown, rule.far) == (unknown, far)


def test_who_names_no_container_gets_that_of_the_suffix() -> None:
    tables = {**TABLES, "depth": {}}
    png = Description.from_dict(tables, "a").depth
    npy = Description.from_dict({**tables, "files": {"depth": "{frame}.npy"}}, "a").depth
    assert (png.container, png.dtype, png.units_per_metre) == ("png", ("uint16",), 1000)
    assert (npy.container, npy.units_per_metre) == ("npy", 1)
    assert (npy.dtype, npy.unknown) == (("float16", "float32", "float64"), (0, 65535))
    millimetres = Description.from_dict(
        {**TABLES, "files": {"depth": "{frame}.NPY"}, "depth": {"units_per_metre": 1000}}, "a"
    ).depth
    assert (millimetres.container, {"uint16", "int64", "float32"} - set(millimetres.dtype)) == ("npy", set())
    metres = Description.from_dict({**tables, "depth": {"units_per_metre": 256}}, "a").depth
    assert (metres.container, metres.units_per_metre) == ("png", 256)


def test_no_maximum_may_be_written_as_infinity() -> None:
    assert Description.from_dict(changed("depth", max_depth=INF), "a").depth.max_depth is None


MATRIX = [500, 0, 320, 0, 510, 240, 0, 0, 1]


def test_constant_intrinsics_may_be_a_matrix() -> None:
    assert Description.from_dict(changed("intrinsics", constant=MATRIX), "a").intrinsics.constant == (
        500,
        510,
        320,
        240,
    )


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            changed("", sumary="x"),
            "unknown field sumary (did you mean summary?); expected one of summary, names,",
        ),
        (changed("depth", units_per_meter=1), "unknown field [depth] units_per_meter (did you mean units_per_metre?)"),
        (changed("files", xyz="a"), "unknown field [files] xyz; expected one of depth, image: correct or remove"),
        (changed("intrinsics", constants=[1]), "unknown field [intrinsics] constants (did you mean constant?)"),
        (changed("", summary=None), 'missing field summary: add summary = "'),
        (changed("", names=None), "missing field names: add names = ["),
        (changed("files", depth=None), "missing field [files] depth: add depth = "),
        (changed("", files=None), "missing field [files] depth: add depth = "),
        (
            changed("depth", container="npy", units_per_metre=None),
            "missing field [depth] units_per_metre: uint16 has no unit: add units_per_metre = ",
        ),
        (changed("", summary=3), "summary: expected one line of text; got 3"),
        (changed("", summary="a\nb"), "summary: expected one line of text"),
        (changed("", names="mine"), "names: expected a list with at least one entry; got 'mine'"),
        (changed("", names=[]), "names: expected a list with at least one entry"),
        (changed("", names=["../mine"]), "names: expected names of letters, digits"),
        (changed("", names=["mine.toml"]), "names: expected names of letters, digits"),
        (changed("", files="x"), "files: expected a table; got 'x'"),
        (changed("files", depth="depth.png"), "[files] depth: expected {frame} once"),
        (changed("files", depth="{frame}/{frame}.png"), "[files] depth: expected {frame} once"),
        (changed("files", depth="{sequence}/{sequence}/{frame}.png"), "{sequence} at most once"),
        (changed("files", depth="{frame}/{sequence}"), "as a folder"),
        (changed("files", depth="a{sequence}/{frame}.png"), "expected {sequence} to be whole folders"),
        (changed("files", depth="/data/{frame}.png"), "expected a path relative to the root"),
        (changed("files", depth="../{frame}.png"), "expected a path relative to the root"),
        (changed("files", depth="a\\{frame}.png"), "expected a path relative to the root"),
        (changed("files", depth="{Scene 1}/{frame}.png"), "expected no braces but those of placeholders"),
        (changed("files", depth="{frame.png"), "expected no braces but those of placeholders such as {frame}"),
        (changed("", masks=[{"file": "{frame}.gif"}]), "[[masks]] file: expected a path ending in one of .npy .npz"),
        (changed("", masks=[{"marks": "far"}]), 'missing field [masks] file: add file = "'),
        (
            changed("", files={"depth": "{frame}.png"}, masks=[{"file": "{sequence}/{frame}.png"}]),
            "[[masks]] file: expected only placeholders of [files] depth '{frame}.png', got {sequence}",
        ),
        (
            {**changed("intrinsics", constant=None, file="{sequence}/K.txt"), "files": {"depth": "{frame}.png"}},
            "[intrinsics] file: expected only placeholders of [files] depth '{frame}.png', got {sequence}",
        ),
        (
            {**TABLES, "files": {"depth": "{frame}.jpg"}, "depth": {}},
            "got '{frame}.jpg'; convert the files, or write a Source",
        ),
        (
            {**TABLES, "files": {"depth": "{frame}"}, "depth": {}},
            "have no suffix, describe the data in a .toml with [depth]",
        ),
        (changed("depth", container="pgn"), "colmap, pgm, png_in_hdf5, zarr (did you mean png or pgm?); got 'pgn'"),
        (changed("depth", dtype="unit16"), "[depth] dtype: expected one of uint8, int8,"),
        (changed("depth", dtype=[3]), "[depth] dtype: expected one of uint8, int8,"),
        (changed("depth", view="float"), "[depth] view: expected one of <u2, <u4, <f2, <f4, <f8"),
        (changed("depth", kind="distance"), "[depth] kind: expected one of z, ray"),
        (changed("depth", units_per_metre="1000"), "[depth] units_per_metre: expected a number; got '1000'"),
        (changed("depth", units_per_metre=True), "[depth] units_per_metre: expected a number; got True"),
        (changed("depth", units_per_metre=0), "[depth] units_per_metre: expected a number from 1e-9 to 1e9; got 0"),
        (changed("depth", units_per_metre=INF), "[depth] units_per_metre: expected a number from 1e-9 to 1e9; got inf"),
        (changed("depth", max_depth=-80), "[depth] max_depth: expected a number of metres above 0 and at most 1e+15"),
        (changed("depth", far=[float("nan")]), "[depth] far: expected a number; got [nan]"),
        (changed("depth", far=INF), "[depth] far: expected a list with at least one entry; got inf"),
        (changed("depth", far=[7], unknown=[7, 8]), "[depth] far: 7 is in unknown too: remove it from one"),
        (changed("intrinsics", file="K.txt"), "[intrinsics]: expected constant or file, got both: remove one"),
        (
            changed("intrinsics", constant=[500, 500, 320]),
            "[intrinsics] intrinsics: expected 4 (fx fy cx cy), 9 or 16 numbers, got 3; give those alone, with decimal",
        ),
        (changed("intrinsics", constant=[0.8, 1.1, 0.5, 0.5]), "which look normalised: multiply"),
        (changed("intrinsics", constant=[-500, 500, 320, 240]), "with fx, fy > 0"),
        (changed("intrinsics", constant="500"), "[intrinsics] constant: expected a list with at least one entry"),
    ],
)
def test_a_wrong_description_is_one_line_that_says_so(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(DescriptionError, match=re.escape(message)) as caught:
        Description.from_dict(tables, "mine.toml")
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


def test_a_file_is_loaded_or_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('summary = "x"\nnames = ["m"]\n[files]\ndepth = "{frame}.npy"\n[depth]\nfar = [inf]\n')
    assert find_description(str(path)).depth.far == (INF,)
    path.write_text("names = [")
    with pytest.raises(DescriptionError, match=r"mine.toml: expected TOML, got something else .Invalid value"):
        find_description(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(DescriptionError, match=r"mine.toml: expected TOML"):
        find_description(str(path))
    with pytest.raises(DescriptionError, match=r"none.toml: cannot be read .No such file"):
        find_description(str(tmp_path / "none.toml"))


def test_builtin_descriptions_are_complete() -> None:
    found = builtin_descriptions()
    assert list(found) == sorted(found)
    assert sum(len(description.names) for description in set(found.values())) == len(found)  # no name twice
    for name, description in found.items():
        assert name in description.names
        assert description.summary
        assert description.homepage.startswith("http") or name == "folder"
        assert Description.from_dict(description.to_dict(), name) == description
        assert find_description(name) == description


def test_what_the_builtin_descriptions_say() -> None:
    found = builtin_descriptions()
    assert found["hospital"] is found["tartanair"] or found["hospital"] == found["hospital-sample"]
    assert len(found["tartanair"].names) == 21
    cameras = {name: found[name].intrinsics for name in ("hospital", "tartanair-v2")}
    assert cameras["hospital"] == CameraRule((320, 320, 320, 240), None)
    assert cameras["tartanair-v2"] == CameraRule((320, 320, 320, 320), None)
    assert {found[name].depth.max_depth for name in ("hospital", "tartanair-v2")} == {80}
    assert found["folder"].intrinsics is None
    assert found["folder"].depth.max_depth is None
    assert found["folder"].depth.unknown == (0, 65535)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(DescriptionError, match=r"'hospitl' .did you mean hospital.*`precompute datasets`"):
        find_description("hospitl")


def test_a_folder_or_a_description_in_place_of_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scan").mkdir()
    with pytest.raises(DescriptionError, match=r"'scan'.*: to read a folder: --dataset folder --root scan$"):
        find_description("scan")
    (tmp_path / "scan/room.toml").touch()
    with pytest.raises(DescriptionError, match=r"'scan/room': did you mean scan/room.toml\?$"):
        find_description("scan/room")


def test_overrides_are_checked_like_the_file() -> None:
    found = find_description("hospital", {"files": {"depth": "{sequence}/depth_right/{frame}_right_depth.npy"}})
    assert found.image_path is None  # it shows the other camera
    assert found.depth == find_description("hospital").depth
    assert find_description("hospital", {"depth": {"max_depth": 20.0}}).depth.max_depth == 20
    assert find_description("hospital", {"intrinsics": {"constant": [9, 9, 3, 3]}}).intrinsics == CameraRule(
        (9, 9, 3, 3), None
    )
    with pytest.raises(DescriptionError, match=r"tartanair.toml with the options given: \[depth\] max_depth"):
        find_description("hospital", {"depth": {"max_depth": -1}})
