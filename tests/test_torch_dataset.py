"""CachedDepthDataset and attach: geometry of the views, determinism, and DUSt3R-like base classes."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_data import DESCRIPTION, TinyData, make_depth
from torch.utils.data import default_collate

from depthvar.datasets import CachedDepthDataset, SigmaCache, Source, attach, open_source
from depthvar.datasets.errors import ParameterError, SourceError
from depthvar.datasets.loaders.crop import Crop, choose_crop, crop_intrinsics, crop_nearest
from depthvar.precompute import sigma_z2
from depthvar.precompute.pipeline import execute
from depthvar.precompute.pipeline import run as pipeline


def cached(tiny: TinyData) -> SigmaCache:
    job = tiny.job()
    list(pipeline.run(job, execute.serial))
    return SigmaCache(job.cache)


@pytest.mark.parametrize("flip", [False, True])
def test_every_output_pixel_looks_along_the_ray_of_the_native_position_it_covers(flip: bool) -> None:
    native, crop, size = np.array([40.0, 44.0, 15.2, 11.9]), Crop(3, 5, 18, 24, flip), (6, 8)
    matrix = crop_intrinsics(native, crop, size)
    for column in range(size[1]):
        unflipped = size[1] - 1 - column if flip else column
        centre = crop.left + (unflipped + 0.5) * 3 - 0.5  # of the three native columns that it covers
        ray = (centre - native[2]) / native[0] * (-1 if flip else 1)
        assert (column - matrix[0, 2]) / matrix[0, 0] == pytest.approx(ray)
    columns = crop_nearest(np.tile(np.arange(32), (24, 1)), crop, size)[0]
    expected = [crop.left + 3 * column for column in range(8)]
    assert columns.tolist() == (expected[::-1] if flip else expected)


def test_random_crops_lie_inside_the_frame_and_keep_the_aspect() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        crop = choose_crop((48, 64), (20, 20), 0.5, random)
        assert 0 <= crop.top <= 48 - crop.height
        assert 0 <= crop.left <= 64 - crop.width
        assert 24 <= crop.height == crop.width <= 48
    assert choose_crop((48, 64), (20, 20), 0.5, None) == Crop(0, 8, 48, 48, False)


def test_a_whole_frame_is_what_source_and_cache_hold(tiny: TinyData) -> None:
    cache, source = cached(tiny), tiny.source()
    dataset = CachedDepthDataset(source, cache)
    assert len(dataset) == len(source)
    for sample, frame in zip((dataset[i] for i in range(len(dataset))), source, strict=True):
        assert sample["key"] == frame.key
        np.testing.assert_array_equal(sample["sigma_Z2"], cache.read(frame.key))
        np.testing.assert_array_equal(sample["depth"], np.where(frame.valid, frame.depth, 0))
        np.testing.assert_array_equal(sample["valid"], frame.valid)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_cache_and_kernel_in_the_loader_see_the_same_views(tiny: TinyData) -> None:
    cache, source = cached(tiny), tiny.source()
    options: dict[str, Any] = {"size": (24, 32), "augment": True, "zoom": 1.0}
    one = CachedDepthDataset(source, cache, **options)
    two = CachedDepthDataset(source, partial(sigma_z2, max_depth=source.max_depth), **options)
    for index in range(len(one)):  # whole frames, some flipped: σ² is the kernel's, rounded
        a, b = one[index], two[index]
        assert torch.equal(a["depth"], b["depth"])
        assert torch.equal(a["intrinsics"], b["intrinsics"])
        torch.testing.assert_close(a["sigma_Z2"], b["sigma_Z2"], rtol=4e-3, atol=0)


def test_samples_depend_on_seed_epoch_and_index_only(tiny: TinyData) -> None:
    dataset = CachedDepthDataset(tiny.source(), cached(tiny), size=(12, 16), augment=True)
    first = dataset[3]["intrinsics"]
    copy = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(copy[3]["intrinsics"], first)
    dataset.set_epoch(1)
    assert not torch.equal(dataset[3]["intrinsics"], first)
    dataset.set_epoch(0)
    assert torch.equal(dataset[3]["intrinsics"], first)


def test_impossible_options_are_refused(tiny: TinyData) -> None:
    with pytest.raises(ParameterError, match=r"size: expected \(h, w\)"):
        CachedDepthDataset(tiny.source(), sigma_z2, size=(0, 4))
    with pytest.raises(ParameterError, match="zoom: expected"):
        CachedDepthDataset(tiny.source(), sigma_z2, zoom=1.5)
    with pytest.raises(ParameterError, match=r"size: expected \(h, w\) in pixels, .* got 224$"):
        CachedDepthDataset(tiny.source(), sigma_z2, size=224)  # type: ignore[arg-type]
    for sigma in ("sigma_Z2.zarr", None):
        with pytest.raises(ParameterError, match=rf"sigma: expected a SigmaCache, .* got {sigma!r}; open a cache by"):
            CachedDepthDataset(tiny.source(), sigma)  # type: ignore[arg-type]


def test_attach_says_what_it_expects_of_samples(tiny: TinyData) -> None:
    cache = SigmaCache("unused")
    with pytest.raises(ParameterError, match=r"sample 0: expected a view, .* got a tuple with a Tensor; call cache\."):
        attach([(torch.ones(2, 2), torch.ones(2, 2))], cache)[0]
    with pytest.raises(ParameterError, match=r"""view: expected "key", .* got \['depthmap'\]; pass key="""):
        attach([{"depthmap": np.ones((2, 2))}], cache)[0]


def test_attach_refuses_what_is_no_data_set_or_no_cache_at_once(tiny: TinyData) -> None:
    views = [{"depthmap": np.ones((2, 2)), "camera_intrinsics": np.eye(3), "key": "a"}]
    with pytest.raises(
        ParameterError, match=r"^cache: expected a SigmaCache, got 'x.zarr'; open one by SigmaCache.path"
    ):
        attach(views, "x.zarr")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"^dataset: expected a map-style data set, .* got list_iterator; for"):
        attach(iter(views), SigmaCache("unused"))
    cache = cached(tiny)
    batch = default_collate([Landscape(tiny, cache)[0][0]] * 2)
    with pytest.raises(ParameterError, match=r"^depthmap: expected one view \(h, w\), got shape \(2, 24, 32\); annot"):
        attach([batch], cache)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intrinsics": [41, 40, 16, 12]}, r"^a/P0/depth/000\.npy: expected fx, fy, cx, cy as in .*\[40.*got \[41"),
        (
            {"units_per_metre": 1000},
            r": expected depth as in .*, got units_per_metre 1.0 .cache. and 1000.0 .source.; open",
        ),
        (
            {"max_depth": 4},
            r": expected depth as in .*, got max_depth None .cache. and 4.0 .source.; open the source as",
        ),
    ],
)
def test_a_source_unlike_that_of_the_cache_is_refused(tiny: TinyData, options: dict[str, Any], message: str) -> None:
    cache, other = cached(tiny), open_source(tiny.toml, **options)
    with pytest.raises(ParameterError, match=message) as caught:
        CachedDepthDataset(other, cache)[0]
    assert str(caught.value).endswith("; open the source as for `precompute run`, or run it again")
    CachedDepthDataset(other, sigma_z2)[0]


def test_the_decoding_of_a_class_of_ones_own_is_not_compared(tiny: TinyData) -> None:
    class Own(Source):
        name, keys, read = "own", lambda self: tiny.source().keys(), lambda self, key: tiny.source().read(key)

    assert CachedDepthDataset(Own(), cached(tiny))[0]["valid"].any()


@pytest.fixture
def pictured(tiny: TinyData) -> TinyData:
    """Every frame with a picture whose red is its column, green its row and blue its frame."""
    tiny.toml.write_text(DESCRIPTION.replace('depth = "', 'image = "{sequence}/image/{frame}.png"\ndepth = "'))
    for key in tiny.source().keys():
        path = tiny.root / key.replace("depth", "image").replace(".npy", ".png")
        path.parent.mkdir(exist_ok=True)
        rows, columns = np.mgrid[:24, :32]
        pixels = np.stack([8 * columns, 8 * rows, np.full_like(rows, 20 * int(path.stem))], axis=-1)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tiny


@pytest.mark.parametrize("size", [None, (24, 32), (12, 16), (9, 15), (30, 40)])
def test_image_depth_and_intrinsics_show_the_same_place(pictured: TinyData, size: tuple[int, int] | None) -> None:
    source = pictured.source()
    dataset = CachedDepthDataset(source, sigma_z2, size=size, augment=size is not None, zoom=0.6)
    flipped = 0
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            sample, frame = dataset[index], source[index]
            image, matrix = sample["image"].numpy(), sample["intrinsics"].numpy().astype(np.float64)
            assert image.shape == (3, *sample["depth"].shape)
            assert image.dtype == np.float32
            assert (image[2] == np.float32(20 * int(frame.key[-7:-4])) / 255).all()  # of this frame
            fx, fy, cx, cy = frame.intrinsics
            rows, columns = np.mgrid[: image.shape[1], : image.shape[2]]
            mirrored = np.diff(image[0, 0]).mean() < 0
            flipped += mirrored
            if mirrored:  # intrinsics of a mirrored view are those of its mirror image
                columns, matrix[0, 2] = columns[:, ::-1], image.shape[2] - 1 - matrix[0, 2]
            u = fx * (columns - matrix[0, 2]) / matrix[0, 0] + cx
            v = fy * (rows - matrix[1, 2]) / matrix[1, 1] + cy
            inner = np.s_[2:-2, 2:-2]  # the filter of the resize has an edge of its own
            np.testing.assert_allclose(255 * image[0][inner], 8 * u[inner], atol=1.01)
            np.testing.assert_allclose(255 * image[1][inner], 8 * v[inner], atol=1.01)
    assert size is None or 8 < flipped < 24


def test_an_image_that_does_not_fit_is_named(pictured: TinyData) -> None:
    source = pictured.source()
    dataset = CachedDepthDataset(source, sigma_z2)
    path = Path(str(source.image_path(source.keys()[0])))
    whole = path.read_bytes()
    Image.new("RGB", (16, 24)).save(path)
    with pytest.raises(
        SourceError, match=r"000\.png: expected an image of the depth's aspect ratio, that of 32×24, got 16×24"
    ):
        dataset[0]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"000\.png: cannot be read as an image"):
        dataset[0]
    path.unlink()
    with pytest.raises(SourceError, match=r"000\.png: cannot be read as an image"):
        dataset[0]


class Landscape:
    """Like DUSt3R's base class: a subclass makes the views, and portrait ones are turned afterwards."""

    turned = ("depthmap", "valid_mask")

    def __init__(self, tiny: TinyData, cache: SigmaCache) -> None:
        self.source, self.cache = tiny.source(), cache

    def __len__(self) -> int:
        return len(self.source)

    def _get_views(self, index: int) -> list[dict[str, Any]]:
        frame = self.source[index]
        fx, fy, cx, cy = frame.intrinsics
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float32)
        depth = np.where(frame.valid, frame.depth, np.float32(0))
        return [{"depthmap": depth, "valid_mask": frame.valid, "camera_intrinsics": matrix, "key": frame.key}]

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        views = self._get_views(index)
        for view in views:
            if view["depthmap"].shape[0] > view["depthmap"].shape[1]:
                for name in self.turned:
                    view[name] = view[name].swapaxes(0, 1)
                view["camera_intrinsics"] = view["camera_intrinsics"][[1, 0, 2]]
        return views


class Annotated(Landscape):
    turned = (*Landscape.turned, "sigma_Z2")

    def _get_views(self, index: int) -> list[dict[str, Any]]:
        views = super()._get_views(index)
        for view in views:
            self.cache.annotate(view, view["key"])
        return views


def test_attach_annotates_landscape_views_and_refuses_turned_ones(tmp_path: Path) -> None:
    tiny = TinyData(tmp_path / "tiny")
    tiny.write("a", "000", make_depth(24, 32, 0))
    portrait = tiny.write("a", "001", make_depth(32, 24, 1))
    cache = cached(tiny)
    dataset = attach(Landscape(tiny, cache), cache)
    assert len(dataset) == 2
    assert dataset.turned == Landscape.turned
    assert not hasattr(dataset, "__getitems__")
    (view,) = dataset[0]
    np.testing.assert_array_equal(view["sigma_Z2"], cache.read(view["key"]))
    with pytest.raises(ParameterError, match="call sample before that step and apply it to σ² too"):
        dataset[1]
    (turned,) = Annotated(tiny, cache)[1]
    assert turned["sigma_Z2"].shape == turned["depthmap"].shape == (24, 32)
    np.testing.assert_array_equal(turned["sigma_Z2"], cache.read(portrait).T)
    assert np.isfinite(turned["sigma_Z2"][turned["valid_mask"]]).all()
