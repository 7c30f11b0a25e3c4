"""Small stand-ins of other trainings' base classes, from what their interfaces do; none of their code.

Each reads frames from memory, by the keys of the layout that its base reads from disk, and crops and resizes by its
base's rules. The examples import them under the names of the originals (``modules``).
"""

from types import ModuleType
from typing import Any

import cv2
import dust3r_loader
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets import Frame

GOOD = (np.float32, np.bool_, np.int32, np.int64, np.uint8)


def matrix_of(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 3×3 matrix of fx, fy, cx, cy."""
    fx, fy, cx, cy = camera
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


class ViewsBase:
    """What DUSt3R, CUT3R and MapAnything have in common: ``_get_views``, then checks and derived maps."""

    def __init__(
        self, frames: dict[str, Frame], resolution: tuple[int, int], seed: int = 1, num_views: int = 2
    ) -> None:
        self.frames, self.resolution, self.seed, self.num_views = frames, resolution, seed, num_views
        self.keys = sorted(frames)

    def __len__(self) -> int:
        return len(self.keys)

    def crop_resize(self, key: str, resolution: tuple[int, int], rng: np.random.Generator) -> dict[str, Any]:
        """Return img, depthmap and camera_intrinsics: a crop around the principal point, resized; -1 where far."""
        frame = self.frames[key]
        depth = np.where(frame.valid, frame.depth, np.where(frame.depth > 0, np.float32(-1), np.float32(0)))
        grey = np.clip(40 * frame.depth, 0, 255).astype(np.uint8)
        size = resolution[::-1]
        return dust3r_loader.view(
            depth, frame.intrinsics, size, zoom=rng.uniform(0.9, 1), image=Image.fromarray(np.stack([grey] * 3, -1))
        )

    def finish(self, views: list[dict[str, Any]], idx: tuple[int, ...]) -> None:
        """Check the views of ``_get_views`` and add what the base derives."""
        for number, view in enumerate(views):
            assert not {"pts3d", "valid_mask"} & view.keys()
            view["idx"] = (*idx, number)
            view["true_shape"] = np.int32(view["img"].size[::-1])
            view["img"] = np.asarray(view["img"], np.float32).transpose(2, 0, 1) / 255
            assert np.isfinite(view["depthmap"]).all()
            view["valid_mask"] = view["depthmap"] > 0
            for name, value in view.items():
                assert isinstance(value, (str, int, tuple)) or value.dtype in GOOD, f"bad dtype of {name}"


class Co3d(ViewsBase):
    """As a data set of DUSt3R: landscape or portrait views, as the frame is; all are landscape in the end."""

    def _get_views(self, idx: int, resolution: tuple[int, int], rng: np.random.Generator) -> list[dict[str, Any]]:
        views = []
        for key in (self.keys[idx], self.keys[idx - 1]):
            height, width = self.frames[key].depth.shape
            view = self.crop_resize(key, resolution[:: 1 if width > height else -1], rng)
            label, _, name = key.removesuffix(".geometric.png").partition("/depths/")
            views.append(view | {"dataset": "Co3d_v2", "label": label, "instance": name})
        return views

    def __getitem__(self, idx: Any) -> list[dict[str, Any]]:
        views = self._get_views(idx, self.resolution, np.random.default_rng(self.seed + idx))
        self.finish(views, (idx, 0))
        for view in views:
            height, width = view["true_shape"]
            if width < height:
                view["img"] = view["img"].swapaxes(1, 2)
                for name in ("depthmap", "valid_mask"):
                    view[name] = view[name].swapaxes(0, 1)
                view["camera_intrinsics"] = view["camera_intrinsics"][[1, 0, 2]]
        return views


class ScanNetMulti(ViewsBase):
    """As a data set of CUT3R: a video; an index is a number, or (number, resolution, how many views)."""

    def _get_views(self, idx: int, resolution: Any, rng: np.random.Generator, num_views: int) -> list[dict[str, Any]]:
        views = []
        for step in range(num_views):
            key = self.keys[(idx + step) % len(self)]
            _, scene, _, name = key.split("/")
            label = f"{scene}_{name.removesuffix('.png')}"
            view = self.crop_resize(key, resolution, rng)
            views.append(view | {"dataset": "ScanNet", "label": label, "instance": f"{idx}_{step}", "is_video": True})
        return views

    def __getitem__(self, idx: Any) -> list[dict[str, Any]]:
        idx, resolution, num_views = idx if isinstance(idx, tuple) else (idx, 0, self.num_views)
        rng = np.random.default_rng(self.seed + idx)
        views = self._get_views(idx, self.resolution, rng, num_views)
        for view in views:
            view["sky_mask"] = view["depthmap"] < 0
        self.finish(views, (idx, resolution))
        return views


class BlendedMVSWAI(ViewsBase):
    """As a data set of MapAnything: depth gets a last axis, and an exception another scene."""

    def __init__(self, *args: Any, max_num_retries: int = 5, **options: Any) -> None:
        super().__init__(*args, **options)
        self.max_num_retries = max_num_retries

    def _get_views(self, sampled_idx: int, num_views_to_sample: int, resolution: Any) -> list[dict[str, Any]]:
        rng, views = np.random.default_rng(self.seed + sampled_idx), []
        for key in rng.choice(self.keys, num_views_to_sample):
            view = self.crop_resize(str(key), resolution, rng)
            label, _, name = key.removesuffix(".exr").partition("/depth/")
            views.append(view | {"dataset": "BlendedMVS", "label": label, "instance": f"images/{name}"})
        return views

    def __getitem__(self, idx: int) -> list[dict[str, Any]]:
        for left in range(self.max_num_retries, -1, -1):
            try:
                views = self._get_views(idx, self.num_views, self.resolution)
                self.finish(views, (idx, 0))
                break
            except Exception:
                if not left:
                    raise
                idx = (idx + 1) % len(self)
        for view in views:
            view["depthmap"] = view["depthmap"][..., None]
        return views


class Co3dDataset:
    """As a data set of VGGT: lists over the frames of a sequence, crops around the principal point, 90° turns."""

    def __init__(self, frames: dict[str, Frame], size: int = 112, seed: int = 0) -> None:
        self.frames, self.size, self.random = frames, size, np.random.default_rng(seed)
        self.turned: list[bool] = []  # of the last batch; the original does not tell
        self.data_store: dict[str, list[dict[str, str]]] = {}
        for key in sorted(frames):
            path = key.removesuffix(".geometric.png").replace("/depths/", "/images/")
            self.data_store.setdefault(key.split("/")[1], []).append({"filepath": path})

    def __getitem__(self, idx: tuple[int, int, float]) -> dict[str, Any]:
        seq_index, img_per_seq, aspect_ratio = idx
        return self.get_data(seq_index=seq_index, img_per_seq=img_per_seq, aspect_ratio=aspect_ratio)

    def get_data(
        self, seq_index: int = 0, img_per_seq: int = 2, seq_name: str | None = None, aspect_ratio: float = 1.0
    ) -> dict[str, Any]:
        seq_name = seq_name or sorted(self.data_store)[seq_index]
        paths = self.data_store[seq_name]
        ids = self.random.choice(len(paths), img_per_seq)
        self.turned = []
        names = ("depths", "intrinsics", "original_sizes")
        batch: dict[str, Any] = {"seq_name": f"co3d_{seq_name}", "ids": ids, **{name: [] for name in names}}
        for i in ids:
            frame = self.frames[paths[i]["filepath"].replace("/images/", "/depths/") + ".geometric.png"]
            depth = np.where(frame.valid, frame.depth, 0).astype(np.float64)
            result = self.process_one_image(
                depth, matrix_of(frame.intrinsics), (int(self.size * aspect_ratio), self.size)
            )
            for name, value in zip(names, (*result, np.array(depth.shape)), strict=True):
                batch[name].append(value)
        return batch

    def process_one_image(self, depth: Any, matrix: Any, target: tuple[int, int]) -> tuple[Any, Any]:
        """Return depth and intrinsics of a random crop, resized and perhaps turned."""
        wanted = [int(side * min(1, self.random.uniform(0.8, 1.2))) for side in depth.shape]
        depth, matrix = self.around_principal_point(depth, matrix, wanted)
        turn = depth.shape[0] > 1.25 * depth.shape[1] and target[0] != target[1] and self.random.random() > 0.5
        target = target[::-1] if turn else target
        scale = max((out + 4) / side for out, side in zip(target, depth.shape, strict=True))
        full = tuple(int(side * scale) for side in depth.shape)
        actual = max(new / side for new, side in zip(full, depth.shape, strict=True))
        depth = cv2.resize(depth, full[::-1], interpolation=cv2.INTER_NEAREST)
        matrix[:2] *= actual
        matrix[:2, 2] += 0.5 * actual - 0.5
        depth, matrix = self.around_principal_point(depth, matrix, target)
        depth = np.pad(depth, [(0, out - side) for out, side in zip(target, depth.shape, strict=True)])
        self.turned.append(turn)
        if not turn:
            return depth, matrix
        clockwise = self.random.random() > 0.5
        (fx, _, cx), (_, fy, cy) = matrix[:2]
        cx, cy = (depth.shape[0] - 1 - cy, cx) if clockwise else (cy, depth.shape[1] - 1 - cx)
        return np.ascontiguousarray(np.rot90(depth, -1 if clockwise else 1)), matrix_of(np.array([fy, fx, cx, cy]))

    @staticmethod
    def around_principal_point(depth: Any, matrix: Any, size: Any) -> tuple[Any, Any]:
        """Return a crop of at most (h, w), and its intrinsics."""
        starts = [max(0, int(c) - side // 2) for c, side in zip(matrix[1::-1, 2], size, strict=True)]
        (top, left), (height, width) = starts, size
        moved = matrix.copy()
        moved[:2, 2] -= left, top
        return depth[top : top + height, left : left + width], moved


class TrainDataLoaderPipeline:
    """As MoGe's: a virtual camera that is turned to a random point, a warp by the nearest pixel, and random flips."""

    def __init__(self, size: tuple[int, int], center_augmentation: float) -> None:
        self.size, self.center_augmentation = size, center_augmentation

    def _process_instance(self, instance: dict[str, Any]) -> dict[str, Any]:
        depth, mask, sky = (instance[name] for name in ("depth", "depth_mask", "depth_mask_inf"))
        intrinsics = instance["intrinsics"].astype(np.float64)  # of sides of length 1
        rng = np.random.default_rng(instance["seed"])
        tx, ty = self.center_augmentation * rng.uniform(-0.2, 0.2, 2)  # tangents; the target stays inside the frame
        forward = np.array([tx, ty, 1]) / np.linalg.norm([tx, ty, 1])
        right = np.cross([0, 1, 0], forward)
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(forward, right), forward])  # to the target's camera
        height, width = self.size
        target = matrix_of(np.array([2 * intrinsics[0, 0], 2 * intrinsics[0, 0] * width / height, 0.5, 0.5]))
        v, u = np.indices(self.size) + 0.5
        rays = np.stack([u / width, v / height, np.ones(self.size)], -1) @ np.linalg.inv(target).T
        seen = rays @ turn @ intrinsics.T  # transposed twice: turn's inverse
        x, y = seen[..., 0] / seen[..., 2] * depth.shape[1] - 0.5, seen[..., 1] / seen[..., 2] * depth.shape[0] - 0.5
        column, row = np.rint(x).astype(int), np.rint(y).astype(int)
        centre = np.stack([(column + 0.5) / depth.shape[1], (row + 0.5) / depth.shape[0], np.ones(self.size)], -1)
        distance = depth[row, column] * np.linalg.norm(centre @ np.linalg.inv(intrinsics).T, axis=-1)
        maps = [(distance / np.linalg.norm(rays, axis=-1)).astype(np.float32), mask[row, column], sky[row, column]]
        mirrored = bool(rng.integers(2))
        if mirrored:
            maps = [np.flip(each, 1).copy() for each in maps]
        names = "depth", "depth_mask", "depth_mask_inf"
        instance.update({name: torch.from_numpy(each) for name, each in zip(names, maps, strict=True)})
        instance["intrinsics"] = torch.from_numpy(target).float()
        instance |= {"turn": turn, "mirrored": mirrored}  # which the original does not tell
        return instance

    def _collate_batch(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        names = "depth", "depth_mask", "depth_mask_inf", "intrinsics"
        return {name: torch.stack([instance[name] for instance in instances]) for name in names}


def modules() -> dict[str, ModuleType]:
    """Return the modules that the examples import, by name."""
    made = {
        "dust3r.datasets": {"Co3d": Co3d},
        "mapanything.datasets": {"BlendedMVSWAI": BlendedMVSWAI},
        "data.datasets.co3d": {"Co3dDataset": Co3dDataset},
        "moge.train.dataloader": {"TrainDataLoaderPipeline": TrainDataLoaderPipeline},
    }
    found: dict[str, ModuleType] = {}
    for name, members in made.items():
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            found.setdefault(".".join(parts[:depth]), ModuleType(".".join(parts[:depth])))
        vars(found[name]).update(members)
    return found
