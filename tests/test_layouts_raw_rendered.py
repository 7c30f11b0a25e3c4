"""Rendered data sets as downloaded: depth, camera, sequence and image of a tree written from their documents."""

import gzip
import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from layouts import (
    INF,
    NAN,
    Tree,
    Truth,
    Writer,
    as_json,
    check_layout,
    exr,
    halves,
    k_matrix,
    metres,
    new,
    picture,
    png,
    spread,
    text,
)
from numpy.typing import NDArray

from depthvar.datasets import open_source

SMALL = (6, 8)
KS = (9.5, 9.25, 3.75, 2.5), (11.0, 10.5, 4.25, 3.0)  # of small frames


def ken_burns(root: Path) -> Tree:
    """Four corner views of a place; depth in thousandths; above 20000 CUT3R's loader drops it."""
    tree = {}
    for place, fov in ("0", 60.0), ("1", 45.5):
        as_json(root, f"asdf-flying/{place}-meta.json", {"fltFov": fov, "intWidth": 512, "strScene": "asdf"})
        for view in "bl", "br", "tl", "tr":
            stored = spread((8, 8), [1, 1234.5, 20000, np.nextafter(np.float32(20000), np.float32(INF)), 1e8, 0])
            key = exr(root, f"asdf-flying-depth/{place}-{view}-depth.exr", Y=stored)
            focal = 4 / math.tan(math.radians(fov) / 2)
            image = picture(root, f"asdf-flying/{place}-{view}-image.png")
            depth = metres(stored / 1000.0, stored > 20000)
            tree[key] = Truth(depth, (focal, focal, 4, 4), f"asdf-flying/{view}", image, metric=False)
    return tree


def bedlam(root: Path) -> Tree:
    """Centimetres in the channel Depth of an EXR with others; a zoom lens, whose focal length each frame has."""
    scene, name = "20221010_3-10_500_batch01hand_zoom_suburb_d", "seq_000000"
    rows, tree = ["name,x,y,z,yaw,pitch,roll,focal_length,sensor_width,sensor_height,hfov"], {}
    for frame, focal in ("0000", 24.0), ("0005", 31.5):
        rows.append(f"{name}_{frame}.png,-3.2,0,154.9,12.0,-4,0,{focal},36.0,20.25,65.5")
        stored = spread(SMALL, [12.5, 100, 20000, 20001, 65504, 0])
        other = spread(SMALL, [77], "f2")
        key = f"{scene}/depth/{name}/{name}_{frame}_depth.exr"
        exr(root, key, Depth=stored, R=other, G=other, B=other, A=other)
        image = picture(root, f"{scene}/png/{name}/{name}_{frame}.png")
        depth = metres(stored.astype(float) / 100, stored > 20000)
        tree[key] = Truth(depth, (focal / 36 * 8, focal / 20.25 * 4.5, 4, 3), f"{scene}/{name}", image)
    text(root, f"{scene}/ground_truth/camera/{name}_camera.csv", "\n".join(rows) + "\n")
    return tree


def annotations(root: Path, path: str, records: list[dict[str, object]]) -> None:
    new(root, path).write_bytes(gzip.compress(json.dumps(records).encode()))


def dynamic_replica(root: Path) -> Tree:
    """The bits of half floats; K in PyTorch3D's NDC: pixels = half the shorter side, x to the left, y up."""
    tree = {}
    for split in "train", "valid":
        records: list[dict[str, object]] = []
        for side, (focal, px, py) in ("left", (2.5, 0.125, -0.25)), ("right", (2.25, -0.5, 0.0)):
            video = f"009850-3_obj_source_{side}"
            for frame in 0, 12:
                bits, stored = halves([0.1, 1, 7.5, 1000, 65504, 2**-24, 0, INF, NAN, -1], SMALL)
                name = f"{video}_{frame:04}"
                key = png(root, f"{split}/{video}/depths/{name}.geometric.png", bits)
                image = picture(root, f"{split}/{video}/images/{video}-{frame:04}.png")
                depth = metres(stored, ~(stored > 0) | np.isinf(stored))
                camera = (focal * 3, (focal + 1) * 3, 4 - px * 3, 3 - py * 3)
                tree[key] = Truth(depth, camera, f"{split}/{video}", image)
                viewpoint = {
                    "focal_length": [focal, focal + 1],
                    "principal_point": [px, py],
                    "intrinsics_format": "ndc_isotropic",
                }
                records.append(
                    {
                        "sequence_name": "009850-3_obj",
                        "frame_number": frame,
                        "image": {"path": f"{video}/images/{video}-{frame:04}.png", "size": SMALL},
                        "depth": {"path": f"{video}/depths/{name}.geometric.png", "scale_adjustment": 1.0},
                        "viewpoint": viewpoint,
                        "camera_name": side,
                    }
                )
        annotations(root, f"{split}/frame_annotations_{split}.jgz", records)
    return tree


def eden(root: Path) -> Tree:
    """MATLAB files, column by column: Depth of several channels, of which the first is depth; K_L and K_R."""
    tree = {}
    for frame in "0001", "0002":
        cameras = {"L": KS[0], "R": KS[1]}
        where = new(root, f"cam_matrix/0001/clear/{frame}.mat")
        scipy.io.savemat(
            where, {f"K_{side}": k_matrix(camera) for side, camera in cameras.items()} | {"T_L": np.eye(4)}
        )
        for side, camera in cameras.items():
            depth = spread(SMALL, [0.25, 3, 5.5, 655, 1e4, 0, 7])
            key = f"Depth/0001/clear/{frame}_{side}.mat"
            channels = np.stack([depth, depth + 1, depth + 2], axis=-1)
            scipy.io.savemat(new(root, key), {"Depth": channels}, do_compression=frame == "0002")
            image = picture(root, f"RGB/0001/clear/{frame}_{side}.png")
            tree[key] = Truth(depth, camera, f"0001/clear/{side}", image)
    return tree


def hypersim(root: Path) -> Tree:
    """Distances along the ray; M_proj of OpenGL per scene; the planar depth is that of the ray through each pixel."""
    height, width = 24, 32
    columns = ["scene_name", "settings_output_img_width", "settings_output_img_height"]
    columns += [f"M_proj_{row}{column}" for row in range(4) for column in range(4)]
    table, tree = [",".join(columns)], {}
    for scene, p00, p11, p02, p12 in ("ai_001_001", 1.75, 2.25, 0.0, 0.0), ("ai_002_010", 1.5, 2.0, 0.125, -0.0625):
        projection = [[p00, 0, p02, 0], [0, p11, p12, 0], [0, 0, -1.002, -2.002], [0, 0, -1, 0]]
        table.append(",".join(map(str, [scene, float(width), float(height), *np.ravel(projection)])))
        camera = (p00 * width / 2, p11 * height / 2, (1 - p02) * width / 2, (1 + p12) * height / 2)
        v, u = np.mgrid[:height, :width]
        length = np.sqrt(((u - camera[2]) / camera[0]) ** 2 + ((v - camera[3]) / camera[1]) ** 2 + 1)
        for cam, frame, dtype in ("cam_00", 0, "f2"), ("cam_00", 1, "f4"), ("cam_01", 0, "f2"):
            z = spread((height, width), [0.5, 2, 3.25, 40, NAN, INF, 0, 900], "f8")
            stored = (z * length).astype(dtype)
            key = f"{scene}/images/scene_{cam}_geometry_hdf5/frame.{frame:04}.depth_meters.hdf5"
            with h5py.File(new(root, key), "w") as file:
                file.create_dataset("dataset", data=stored, chunks=(8, 8), compression="gzip")
            image = picture(root, f"{scene}/images/scene_{cam}_final_preview/frame.{frame:04}.tonemap.jpg")
            with np.errstate(invalid="ignore"):
                depth = metres(stored / length, ~(np.isfinite(stored) & (stored > 0)))
            np.testing.assert_allclose(depth, np.nan_to_num(z, posinf=0), rtol=1e-7 if dtype == "f4" else 5e-4)
            tree[key] = Truth(depth, camera, f"{scene}/{cam}", image, ulp=2)
    text(root, "metadata_camera_parameters.csv", "\n".join(table) + "\n")
    return tree


def irs(root: Path) -> Tree:
    """Disparity in pixels of a baseline of 0.1 m and f = 480; one channel G, or three of which the first counts."""
    tree = {}
    for frame, channels in ("1", ["G"]), ("20", ["R", "G", "B"]):
        stored = spread((540, 960), [0.24001, 0.23999, 4.8, 480, 96.5, 0.125, 0, -3, NAN])
        key = f"Store/SuperMarket/d_{frame}.exr"
        exr(root, key, **{name: stored if name in ("R", channels[0]) else stored + 1 for name in channels})
        with np.errstate(divide="ignore", invalid="ignore"):
            z = 48 / stored.astype(float)
        depth = metres(z, ~((z > 0) & (z <= 200)))
        image = picture(root, f"Store/SuperMarket/l_{frame}.png")
        tree[key] = Truth(depth, (480, 480, 480, 270), "Store/SuperMarket", image, ulp=1)
    return tree


def matrixcity(root: Path) -> Tree:
    """Centimetres in three equal channels of half floats; 65504, the largest of them, is the sky."""
    return city(root, "small_city_depth", "f2", [1, 100, 12344, 65472, 65504, 0])


def matrixcity_float32(root: Path) -> Tree:
    """The same in float32, whose sky is a large number; beyond 650 m it is far, but keeps its depth."""
    tree = city(root, "small_city_depth_float32", "f4", [1, 100.25, 12345.5, 65000, 65000.01, 1e7, 0])
    return {key: truth._replace(farthest=650) for key, truth in tree.items()}


def city(root: Path, folder: str, dtype: str, values: list[float]) -> Tree:
    tree = {}
    for block, angle in ("block_1", 0.7853981633974483), ("block_2", 1.1):
        as_json(root, f"small_city/aerial/train/{block}/transforms.json", {"camera_angle_x": angle, "frames": []})
        for frame in "0000", "0001":
            stored = spread(SMALL, values, dtype)
            key = f"{folder}/aerial/train/{block}_depth/{frame}.exr"
            exr(root, key, R=stored, G=stored, B=stored)
            image = picture(root, f"small_city/aerial/train/{block}/{frame}.png")
            depth = metres(stored.astype(float) / 100, False, stored == 65504)
            focal = 4 / math.tan(angle / 2)
            tree[key] = Truth(depth, (focal, focal, 4, 3), f"small_city/aerial/train/{block}", image)
    return tree


def mid_air(root: Path) -> Tree:
    """The bits of half floats in metres."""
    bits, stored = halves([0.3, 1, 7.5, 1250, 65504, 0], (1024, 1024))
    return drone(root, "depth", bits, metres(stored))


def mid_air_stereo(root: Path) -> Tree:
    """The bits of half floats: disparity of a baseline of 1 m at f = 512."""
    bits, stored = halves([512, 0.5, 33.3, 2**-10, 65504, 0], (1024, 1024))
    with np.errstate(divide="ignore"):
        z = 512 / stored
    return drone(root, "stereo_disparity", bits, metres(z, stored == 0))


def drone(root: Path, folder: str, bits: NDArray[np.uint16], depth: NDArray[np.float32]) -> Tree:
    tree = {}
    for weather in "Kite_training/sunny", "PLE_test/fall":
        key = png(root, f"{weather}/{folder}/trajectory_3000/000000.PNG", bits)
        image = picture(root, f"{weather}/color_left/trajectory_3000/000000.JPEG")
        tree[key] = Truth(depth, (512, 512, 512, 512), f"{weather}/trajectory_3000", image)
    return tree


def mvs_synth(root: Path) -> Tree:
    """Tenths of a metre as MapAnything and MoGe have it; the sky is inf; K per frame."""
    tree = {}
    for frame, (fx, fy, cx, cy) in zip(("0000", "0099"), KS, strict=True):
        pose = {"f_x": fx, "f_y": fy, "c_x": cx, "c_y": cy, "extrinsic": np.eye(4).tolist()}
        as_json(root, f"0007/poses/{frame}.json", pose)
        stored = spread(SMALL, [1, 12.5, 333.3, 1e5, INF, 0, NAN])
        key = exr(root, f"0007/depths/{frame}.exr", Y=stored)
        image = picture(root, f"0007/images/{frame}.png")
        depth = metres(stored.astype(float) / 10, np.isnan(stored), stored == INF)
        tree[key] = Truth(depth, (fx, fy, cx, cy), "0007", image)
    return tree


def pointodyssey(root: Path) -> Tree:
    """16 bits of 1000 m; one matrix per frame in anno.npz."""
    tree = {}
    cameras = np.stack([k_matrix(KS[0]), k_matrix(KS[1])]).astype(np.float32)
    new(root, "train/ani/anno.npz")
    np.savez(root / "train/ani/anno.npz", intrinsics=cameras, trajs_3d=np.zeros((2, 9, 3)), extrinsics=np.eye(4))
    for frame, camera in enumerate(KS):
        codes = spread(SMALL, [1, 2, 655, 4321, 65534, 65535, 0], "u2")
        key = png(root, f"train/ani/depths/depth_{frame:05}.png", codes)
        image = picture(root, f"train/ani/rgbs/rgb_{frame:05}.jpg")
        depth = metres(codes / 65535 * 1000, codes == 0, codes == 65535)
        tree[key] = Truth(depth, camera, "train/ani", image, ulp=1)
    return tree


def replica(root: Path) -> Tree:
    """cam_params.json of the download: 1200×680, f = 600, scale 6553.5."""
    tree = {}
    for frame in "000000", "001999":
        codes = spread((680, 1200), [1, 6553, 6554, 13107, 65535, 0], "u2")
        key = png(root, f"office0/results/depth{frame}.png", codes)
        image = picture(root, f"office0/results/frame{frame}.jpg")
        tree[key] = Truth(metres(codes / 6553.5), (600, 600, 599.5, 339.5), "office0", image)
    return tree


def spring(root: Path) -> Tree:
    """Disparity in pixels of the image, on a grid of twice its size; a sky map of that size; a line of K per frame."""
    tree = {}
    lines = [f"{fx} {fy} {cx} {cy}" for fx, fy, cx, cy in KS]
    text(root, "train/0001/cam_data/intrinsics.txt", "\n".join(lines) + "\n")
    for side in "left", "right":
        for number, camera in enumerate(KS, 1):
            disparity = np.full((12, 16), 99, np.float32)
            disparity[::2, ::2] = values = spread(SMALL, [0.5, 1.25, 100.5, 0.001, 0, NAN, 7])
            sky = np.full((12, 16), 255, np.uint8)
            sky[::2, ::2] = above = np.arange(48).reshape(SMALL) % 5 == number
            name = f"{side}_{number:04}"
            key = f"train/0001/disp1_{side}/disp1_{name}.dsp5"
            with h5py.File(new(root, key), "w") as file:
                file.create_dataset("disparity", data=disparity, compression="gzip")
            png(root, f"train/0001/maps/skymap_{side}/skymap_{name}.png", sky)
            image = picture(root, f"train/0001/frame_{side}/frame_{name}.png")
            with np.errstate(divide="ignore"):
                z = 0.065 * camera[0] / values.astype(float)
            depth = metres(z, ~(values > 0) & ~above, above)
            tree[key] = Truth(depth, camera, f"train/0001/{side}", image, ulp=1)
    return tree


def synscapes(root: Path) -> Tree:
    """Metres in the channel Z; class 23 is the sky; K per frame."""
    tree = {}
    for frame, (fx, fy, cx, cy) in zip(("1", "25000"), KS, strict=True):
        camera = {"intrinsic": {"fx": fx, "fy": fy, "resx": 8, "resy": 6, "u0": cx, "v0": cy}, "extrinsic": {"yaw": 0}}
        as_json(root, f"meta/{frame}.json", {"camera": camera, "instance": {}})
        stored = spread(SMALL, [1.5, 80, 250.25, 1e4, 0, 7, 9])
        classes = spread(SMALL, [7, 23, 11, 23, 23], "u1")
        key = exr(root, f"img/depth/{frame}.exr", Z=stored)
        png(root, f"img/class/{frame}.png", classes)
        image = picture(root, f"img/rgb/{frame}.png")
        tree[key] = Truth(metres(stored, False, classes == 23), (fx, fy, cx, cy), "", image)
    return tree


def urbansyn(root: Path) -> Tree:
    """Units of 100 km; class 10 is the sky, in an image of one channel or of several equal ones; one K in mm."""
    camera = {"focalLength_mm": 20.0, "sensorWidth_mm": 36.0, "sensorHeight_mm": 27.0}
    as_json(root, "camera_metadata.json", {"parameters": [{"Camera": camera}]})
    tree = {}
    for frame, channels in ("0001", 1), ("7539", 3), ("7540", 4):
        stored = spread(SMALL, [1e-5, 0.00123, 0.0025, 1, 0, 0.3])
        classes = spread(SMALL, [0, 10, 7, 10, 18], "u1")
        key = exr(root, f"depth/depth_{frame}.exr", R=stored, G=stored, B=stored)
        png(root, f"ss/ss_{frame}.png", classes if channels == 1 else np.stack([classes] * channels, axis=-1))
        image = picture(root, f"rgb/rgb_{frame}.png")
        depth = metres(stored * 1e5, False, classes == 10)
        tree[key] = Truth(depth, (20 / 36 * 8, 20 / 27 * 6, 4, 3), "", image, ulp=1)
    return tree


def virtual_kitti_1(root: Path) -> Tree:
    """Centimetres; 655.35 m is the sky; f = 725 in 1242×375."""
    tree = {}
    for scene in "0001/clone", "0020/15-deg-left":
        codes = spread((375, 1242), [1, 99, 4321, 65534, 65535], "u2")
        key = png(root, f"vkitti_1.3.1_depthgt/{scene}/00000.png", codes)
        image = picture(root, f"vkitti_1.3.1_rgb/{scene}/00000.png")
        tree[key] = Truth(metres(codes / 100, False, codes == 65535), (725, 725, 620.5, 187), scene, image)
    return tree


def virtual_kitti_2(root: Path) -> Tree:
    """Centimetres; 655.35 m is the sky; the table intrinsic.txt has a row for each frame and camera."""
    tree = {}
    rows = ["frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]"]
    for frame in 0, 9:
        for camera, (fx, fy, cx, cy) in enumerate(KS):
            numbers = fx + frame, fy + frame, cx, cy
            rows.append(" ".join(map(str, (frame, camera, *numbers))))
            codes = spread(SMALL, [1, 99, 4321, 65534, 65535], "u2")
            key = png(root, f"Scene01/clone/frames/depth/Camera_{camera}/depth_{frame:05}.png", codes)
            image = picture(root, f"Scene01/clone/frames/rgb/Camera_{camera}/rgb_{frame:05}.jpg")
            depth = metres(codes / 100, False, codes == 65535)
            tree[key] = Truth(depth, numbers, f"Scene01/clone/{camera}", image)
    text(root, "Scene01/clone/intrinsic.txt", "\n".join(rows) + "\n")
    return tree


LAYOUTS: dict[str, Writer] = {
    "3d-ken-burns": ken_burns,
    "bedlam": bedlam,
    "dynamic-replica": dynamic_replica,
    "eden": eden,
    "hypersim": hypersim,
    "irs": irs,
    "matrixcity": matrixcity,
    "matrixcity-float32": matrixcity_float32,
    "mid-air": mid_air,
    "mid-air-stereo": mid_air_stereo,
    "mvs-synth": mvs_synth,
    "pointodyssey": pointodyssey,
    "replica": replica,
    "spring": spring,
    "synscapes": synscapes,
    "urbansyn": urbansyn,
    "virtual-kitti-1": virtual_kitti_1,
    "virtual-kitti-2": virtual_kitti_2,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_tree_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    check_layout(name, tmp_path, LAYOUTS[name](tmp_path))


def test_hypersim_agrees_with_the_formula_of_its_readme(tmp_path: Path) -> None:
    """It has rays through the centres of pixels; ours, from M_proj, pass half a pixel next to them: less than 4e-4."""
    f, height, width = 886.81, 768, 1024
    x = np.linspace(-0.5 * width + 0.5, 0.5 * width - 0.5, width)
    y = np.linspace(-0.5 * height + 0.5, 0.5 * height - 0.5, height)
    z = np.full((height, width), 2.5)
    distance = z * np.sqrt(x * x + (y * y)[:, None] + f * f) / f
    folder = "ai_001_001/images/scene_cam_00_geometry_hdf5"
    with h5py.File(new(tmp_path, f"{folder}/frame.0000.depth_meters.hdf5"), "w") as file:
        file["dataset"] = distance.astype(np.float32)
    header = "scene_name,settings_output_img_width,settings_output_img_height"
    header += ",M_proj_00,M_proj_01,M_proj_02,M_proj_10,M_proj_11,M_proj_12"
    row = f"ai_001_001,{width},{height},{2 * f / width},0,0,0,{2 * f / height},0"
    text(tmp_path, "metadata_camera_parameters.csv", f"{header}\n{row}\n")
    (frame,) = open_source("hypersim", tmp_path)
    np.testing.assert_allclose(frame.depth, z, rtol=4e-4)
