"""CachedDepthDataset where colour has another size than depth: one geometry in every sample."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rendered import SIZE, RenderedData, camera_at, rendered
from torch.utils.data import DataLoader

from depthvar.datasets import CachedDepthDataset, SigmaCache
from depthvar.datasets.errors import SourceError
from depthvar.datasets.hospital.render import render
from depthvar.datasets.hospital.scene import scene
from depthvar.datasets.hospital.write import camera_poses
from depthvar.datasets.loaders.crop import Crop, choose_crop, image_box, is_same_view
from depthvar.precompute import check_loader, sigma_z2

LARGE = 240, 320  # of colour, 2.5 times the depth's size
SEED = 52  # of a crop at odd rows and columns
ONLY_IMAGE = {"depth", "sigma_Z2", "valid", "intrinsics", "key"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[RenderedData, SigmaCache]:
    data = RenderedData(tmp_path_factory.mktemp("large"), LARGE)
    return data, data.cached()


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("size", [None, (48, 64), (40, 40), LARGE])
def test_the_size_of_colour_changes_colour_alone(
    large: tuple[RenderedData, SigmaCache], tmp_path: Path, size: tuple[int, int] | None, augment: bool
) -> None:
    data, cache = large
    small = RenderedData(tmp_path / "small")
    one, other = (
        CachedDepthDataset(each.source(), sigma, size=size, augment=augment)
        for each, sigma in ((data, cache), (small, small.cached()))
    )
    for epoch in range(3 if augment else 1):
        one.set_epoch(epoch)
        other.set_epoch(epoch)
        for a, b in zip((one[0], one[1]), (other[0], other[1]), strict=True):
            assert a["image"].shape == b["image"].shape == (3, *a["depth"].shape)
            for name in ONLY_IMAGE - {"key"}:
                assert torch.equal(a[name], b[name]), name
            # The same picture, once a mean over pixels and once a point of each: equal but for edges and texture.
            assert (a["image"] - b["image"]).abs().median() < 0.015
            assert (a["image"] - b["image"]).abs().mean() < 0.05


def test_colour_lies_where_the_depth_does_to_a_small_part_of_a_pixel(large: tuple[RenderedData, SigmaCache]) -> None:
    """Pictures rendered for the sample, with the principal point moved left and right, are equally far from it."""
    data, cache = large
    dataset = CachedDepthDataset(data.source(), cache, size=(48, 64), augment=True, zoom=0.7, seed=SEED)
    crop = choose_crop(SIZE, (48, 64), 0.7, np.random.default_rng((SEED, 0, 0)))
    assert not crop.flip
    assert crop.left % 2 == crop.top % 2 == 1  # half pixels of the colour
    image, matrix = dataset[0]["image"].numpy(), dataset[0]["intrinsics"].numpy().astype(np.float64)

    def error(dx: float, dy: float) -> float:
        thrice = (3 * matrix[0, 0], 3 * matrix[1, 1], 3 * (matrix[0, 2] + dx) + 1, 3 * (matrix[1, 2] + dy) + 1)
        rays = render(scene(), camera_poses("Easy/P000")[2], thrice, (144, 192))[1] / 255
        return float(np.abs(rays.reshape(48, 3, 64, 3, 3).mean((1, 3)).transpose(2, 0, 1) - image).mean())

    unmoved, left, right, up, down = (error(*by) for by in ((0, 0), (-0.2, 0), (0.2, 0), (0, -0.2), (0, 0.2)))
    for before, after in ((left, right), (up, down)):
        assert unmoved < min(before, after)
        assert abs(before - after) / (before + after - 2 * unmoved) * 0.1 < 0.02  # pixels, the vertex of a parabola


def test_at_the_size_of_colour_the_sample_is_what_is_rendered_there(large: tuple[RenderedData, SigmaCache]) -> None:
    data, cache = large
    for sample, frame in zip(CachedDepthDataset(data.source(), cache, size=LARGE), (2, 9), strict=True):
        depth, picture = rendered(frame, LARGE)
        assert torch.equal(sample["image"], torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32)) / 255)
        fx, fy, cx, cy = camera_at(LARGE)
        np.testing.assert_allclose(sample["intrinsics"], [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], rtol=1e-6)
        taken = sample["depth"].numpy()
        near = np.abs(taken - depth) <= 0.03 * depth  # what surfaces change within a pixel of the depth
        assert near[sample["valid"].numpy()].mean() > 0.93
        # σ of the depth's pixels, which are 2.5 times as large as those of the colour
        fine = np.sqrt(sigma_z2(depth, camera_at(LARGE)))
        known = np.isfinite(fine) & np.isfinite(sample["sigma_Z2"].numpy())
        assert 2.3 < np.median(np.sqrt(sample["sigma_Z2"].numpy())[known] / fine[known]) < 2.8


def test_where_sizes_are_equal_the_crop_is_of_whole_pixels(tmp_path: Path) -> None:
    data = RenderedData(tmp_path, frames=(2,))
    source = data.source()
    dataset = CachedDepthDataset(source, sigma_z2, size=(30, 50), augment=True, seed=3)
    for epoch in range(6):
        dataset.set_epoch(epoch)
        crop = choose_crop(SIZE, (30, 50), 0.5, np.random.default_rng((3, epoch, 0)))
        box = (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
        with Image.open(str(source.image_path(source.keys()[0]))) as image:
            pixels = np.asarray(image.resize((50, 30), Image.Resampling.BICUBIC, box=box))
        expected = (pixels[:, ::-1] if crop.flip else pixels).transpose(2, 0, 1) / np.float32(255)
        np.testing.assert_array_equal(dataset[0]["image"], expected)


def test_the_borders_of_a_crop_are_the_same_part_of_both_sides() -> None:
    crop, native = Crop(10, 20, 30, 40, True), (480, 640)
    assert image_box(crop, native, (968, 1296)) == pytest.approx((40.5, 20.166667, 121.5, 80.666667))
    assert image_box(crop, native, native) == (20, 10, 60, 40)
    assert image_box(Crop(0, 0, 480, 640, False), native, (967, 1295)) == (0, 0, 1295, 967)  # not a bit beyond


@pytest.mark.parametrize(
    ("native", "image", "same"),
    [
        ((480, 640), (480, 640), True),
        ((480, 640), (968, 1296), True),  # ScanNet
        ((192, 256), (480, 640), True),  # ARKitScenes
        ((192, 256), (1440, 1920), True),
        ((384, 512), (2160, 3840), False),
        ((480, 640), (640, 480), False),
        ((480, 640), (1080, 1920), False),
        ((480, 640), (484, 640), False),  # two pixels at each border
        ((100, 100), (51, 50), True),
        ((968, 1296), (480, 640), True),
    ],
)
def test_aspect_ratios_agree_within_a_pixel_at_each_border(
    native: tuple[int, int], image: tuple[int, int], same: bool
) -> None:
    assert is_same_view(native, image) is same
    assert is_same_view(image, native) is same
    assert is_same_view(native[::-1], image[::-1]) is same


def test_an_image_of_another_aspect_ratio_is_one_line(tmp_path: Path) -> None:
    data = RenderedData(tmp_path, frames=(2,))
    dataset = CachedDepthDataset(data.source(), sigma_z2)
    Image.new("RGB", (192, 108)).save(tmp_path / "a/image/002.png")
    with pytest.raises(SourceError) as caught:
        dataset[0]
    assert str(caught.value) == (
        f"{tmp_path}/a/image/002.png: expected an image of the depth's aspect ratio, that of 128×96, got 192×108: "
        "register the depth to the image, or name no image"
    )


def test_the_kernel_in_the_loader_sees_the_depth_of_the_sample(large: tuple[RenderedData, SigmaCache]) -> None:
    source = large[0].source()
    sample = CachedDepthDataset(source, partial(sigma_z2, max_depth=None), size=(48, 64))[0]
    depth = torch.where(sample["depth"] > 0, sample["depth"], torch.inf)  # nothing is unknown here
    np.testing.assert_array_equal(sample["sigma_Z2"], sigma_z2(depth.numpy(), sample["intrinsics"].numpy()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_return_what_the_parent_does(large: tuple[RenderedData, SigmaCache], method: str) -> None:
    data, cache = large
    dataset = CachedDepthDataset(data.source(), cache, size=(48, 64), augment=True)
    (batch,) = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context=method)
    for index in range(2):
        for name in ("image", "depth", "sigma_Z2", "intrinsics"):
            assert torch.equal(batch[name][index], dataset[index][name])


def test_the_check_finds_the_samples_right(large: tuple[RenderedData, SigmaCache]) -> None:
    data, cache = large
    dataset = CachedDepthDataset(data.source(), cache, size=(64, 64), augment=True, zoom=0.8)
    report = check_loader([dataset[index % 2] for index in range(6)], cache)
    assert report.right, str(report)
