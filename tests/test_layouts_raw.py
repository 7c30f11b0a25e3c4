"""Measured data sets as downloaded: depth, camera, sequence and image of a tree written from their documents."""

import gzip
import json
import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import skimage.data
from layouts import (
    INF,
    NAN,
    Tree,
    Truth,
    Writer,
    as_json,
    check_layout,
    halves,
    k_matrix,
    metres,
    new,
    npy,
    pfm,
    picture,
    png,
    spread,
    text,
)
from numpy.typing import NDArray
from PIL import Image

from depthvar.datasets import open_source
from depthvar.datasets.source.catalogue import builtin_descriptions

DATA = Path(__file__).parent / "data"
SMALL = (6, 8)
KS = (9.5, 9.25, 3.75, 2.5), (11.0, 10.5, 4.25, 3.0)  # of small frames
SATURATED = 65535  # no sensor sees that far in millimetres; depthvar calls it unknown where a description says nothing


def arkitscenes(root: Path) -> Tree:
    return ipad(root, "lowres_depth", "lowres_wide", (192, 256))


def arkitscenes_highres(root: Path) -> Tree:
    return ipad(root, "highres_depth", "wide", (360, 480))


def ipad(root: Path, folder: str, colour: str, size: tuple[int, int]) -> Tree:
    """Millimetres; K of a frame in a line width height fx fy cx cy."""
    tree = {}
    for scene, split in ("41069021", "Training"), ("41069043", "Validation"):
        for stamp, f in ("305.377", 0.8), ("305.411", 0.81):
            codes = spread(size, [1, 999, 4321, 65534, 65535, 0], "u2")
            below = f"raw/{split}/{scene}"
            key = png(root, f"{below}/{folder}/{scene}_{stamp}.png", codes)
            camera = f * size[1], f * size[1] + 2, size[1] / 2 - 0.75, size[0] / 2 + 1.25
            line = " ".join(map(str, (size[1], size[0], *camera)))
            text(root, f"{below}/{colour}_intrinsics/{scene}_{stamp}.pincam", line)
            image = picture(root, f"{below}/{colour}/{scene}_{stamp}.png")
            tree[key] = Truth(metres(codes / 1000, codes == SATURATED), camera, below, image)
    return tree


def blendedmvs(root: Path) -> Tree:
    """PFM in scene units; K below the word intrinsic, after the pose."""
    tree = {}
    for frame, (fx, fy, cx, cy) in zip(("00000000", "00000017"), KS, strict=True):
        sequence = "5a3ca9cb270f0e3f14d0eddb"
        depth = spread(SMALL, [1e-3, 0.75, 123.4, 1e5, 0, 5, 6])
        key = pfm(root, f"{sequence}/rendered_depth_maps/{frame}.pfm", depth)
        image = picture(root, f"{sequence}/blended_images/{frame}.jpg")
        picture(root, f"{sequence}/blended_images/{frame}_masked.jpg")
        pose = "0.97 0.01 0.24 -191.02\n-0.01 0.99 0.02 3.28\n-0.24 -0.03 0.97 22.5\n0 0 0 1"
        k = f"{fx} 0.0 {cx}\n0.0 {fy} {cy}\n0.0 0.0 1.0"
        text(root, f"{sequence}/cams/{frame}_cam.txt", f"extrinsic\n{pose}\n\nintrinsic\n{k}\n\n0.5 0.25 128 32.25\n")
        tree[key] = Truth(depth, (fx, fy, cx, cy), sequence, image, metric=False)
    text(root, f"{sequence}/cams/pair.txt", "2\n0\n1 1 0.5\n1\n1 0 0.5\n")
    return tree


def co3d(root: Path) -> Tree:
    """The bits of half floats times a number of the frame, where its depth mask is set; K in NDC."""
    tree = {}
    for category in "apple", "teddybear":
        records = []
        for video, scale, focal in ("110_13051_23361", 1.0, 2.5), ("189_20393_38136", 0.375, 2.25):
            for frame in "frame000001", "frame000099":
                below = f"{category}/{video}"
                bits, stored = halves([0.1, 1, 7.5, 1000, 65504, 2**-24, 0, INF, NAN], SMALL)
                mask = spread(SMALL, [255, 255, 0, 255], "u1")
                key = png(root, f"{below}/depths/{frame}.jpg.geometric.png", bits)
                png(root, f"{below}/depth_masks/{frame}.png", mask)
                png(root, f"{below}/masks/{frame}.png", 255 - mask)
                image = picture(root, f"{below}/images/{frame}.jpg")
                depth = metres(stored * scale, ~(stored > 0) | np.isinf(stored) | (mask == 0))
                camera = focal * 3, (focal + 1) * 3, 4 - 0.125 * 3, 3 + 0.25 * 3
                tree[key] = Truth(depth, camera, below, image, metric=False)
                viewpoint = {"focal_length": [focal, focal + 1], "principal_point": [0.125, -0.25]}
                paths = {"path": f"{below}/depths/{frame}.jpg.geometric.png", "scale_adjustment": scale}
                paths["mask_path"] = f"{below}/depth_masks/{frame}.png"
                records.append(
                    {
                        "sequence_name": video,
                        "frame_number": int(frame[5:]),
                        "image": {"path": f"{below}/images/{frame}.jpg", "size": SMALL},
                        "depth": paths,
                        "viewpoint": viewpoint | {"intrinsics_format": "ndc_isotropic"},
                    }
                )
        new(root, f"{category}/frame_annotations.jgz").write_bytes(gzip.compress(json.dumps(records).encode()))
    return tree


def diode(root: Path) -> Tree:
    """Metres of shape (768, 1024, 1), where the mask is 1."""
    tree = {}
    for place in (
        "indoors/scene_00019/scan_00183/00019_00183_indoors_000_010",
        "outdoor/scene_00022/scan_00193/x_050_020",
    ):
        depth = spread((768, 1024), [0.6, 12.5, 50.125, 349.9, 0, 3, 7])
        mask = spread((768, 1024), [1, 1, 0, 1, 1, 1, 1, 0, 1, 1])
        key = npy(root, f"val/{place}_depth.npy", depth[..., None])
        npy(root, f"val/{place}_depth_mask.npy", mask)
        image = picture(root, f"val/{place}.png")
        truth = metres(depth.astype(float), mask == 0)
        tree[key] = Truth(truth, (886.81, 927.06, 512, 384), f"val/{place}".rpartition("/")[0], image)
    return tree


def kitti_completion(root: Path) -> Tree:
    return kitti(root, "groundtruth")


def kitti_raw(root: Path) -> Tree:
    return kitti(root, "velodyne_raw")


def kitti(root: Path, folder: str) -> Tree:
    """1/256 m, 0 without a measurement; each date of the raw data set has K of its cameras in a 3×4 projection."""
    tree = {}
    for number, (date, split) in enumerate([("2011_09_26", "train"), ("2011_10_03", "val")]):
        drive = f"{date}_drive_0001_sync"
        lines = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.950000e-02"]
        for camera, (fx, fy, cx, cy) in ("02", KS[0]), ("03", KS[1]):
            fx += number
            rows = [fx, 0, cx, 44.85728, 0, fy, cy, 0.2163791, 0, 0, 1, 0.002745884]
            lines += [f"S_{camera}: 1.392000e+03 5.120000e+02", f"K_{camera}: " + "1 0 0 0 1 0 0 0 1"]
            lines += [f"S_rect_{camera}: 8 6", f"P_rect_{camera}: " + " ".join(f"{each:.6e}" for each in rows)]
            codes = spread(SMALL, [0, 1, 0, 255, 256, 20000, 65535, 0, 0], "u2")
            key = png(root, f"{split}/{drive}/proj_depth/{folder}/image_{camera}/0000000005.png", codes)
            image = picture(root, f"{date}/{drive}/image_{camera}/data/0000000005.png")
            tree[key] = Truth(metres(codes / 256), (fx, fy, cx, cy), f"{split}/{date}/0001/{camera}", image)
        text(root, f"{date}/calib_cam_to_cam.txt", "\n".join(lines) + "\n")
    return tree


def matterport3d(root: Path) -> Tree:
    """1/4000 m; in the .conf, K stands above the views of its camera."""
    house, place = "17DRP5sb8fy", "00ebbf3782c64d74aaf7dd39cd561175"
    below, tree = f"scans/{house}/{house}", {}
    lines = ["dataset matterport", "n_images 4", "depth_directory undistorted_depth_images"]
    lines += ["color_directory undistorted_color_images", ""]
    for camera, (fx, fy, cx, cy) in enumerate(KS):
        lines.append(f"intrinsics_matrix {fx} 0 {cx}  0 {fy} {cy}  0 0 1")
        for yaw in 0, 5:
            pose = "0.46 -0.13 0.87 -1.2 -0.88 -0.06 0.46 2.0 0 -0.98 -0.15 1.5 0 0 0 1"
            lines.append(f"scan {place}_d{camera}_{yaw}.png {place}_i{camera}_{yaw}.jpg {pose}")
            codes = spread(SMALL, [1, 3999, 4000, 65535, 0], "u2")
            key = png(root, f"{below}/undistorted_depth_images/{place}_d{camera}_{yaw}.png", codes)
            image = picture(root, f"{below}/undistorted_color_images/{place}_i{camera}_{yaw}.jpg")
            tree[key] = Truth(metres(codes / 4000), (fx, fy, cx, cy), f"scans/{house}/{house}/{camera}/{yaw}", image)
        lines.append("")
    text(root, f"{below}/undistorted_camera_parameters/{house}.conf", "\n".join(lines))
    return tree


def middlebury_2014(root: Path) -> Tree:
    """Z = baseline f / (d + doffs) in millimetres; inf is unknown; scenes differ in size."""
    tree = {}
    for scene, size, f, baseline, doffs in (
        ("Adirondack-perfect", (6, 8), 4161.221, 176.252, 209.059),
        ("Jadeplant-imperfect", (8, 10), 5299.313, 174.186, 0.0),
    ):
        cx, cy = size[1] / 2 - 0.25, size[0] / 2 + 0.5
        disparity = spread(size, [0.5, 31.25, 289.9, INF, 100, 0.001])
        key = scene_of_middlebury(root, scene, disparity, (f, f, cx, cy), baseline, doffs)
        z = baseline / 1000 * f / (disparity.astype(float) + doffs)
        image = f"{scene}/im0.png"
        tree[key] = Truth(metres(z, np.isinf(disparity)), (f, f, cx, cy), "", image, ulp=1)
    return tree


def scene_of_middlebury(
    root: Path, scene: str, disparity: NDArray[np.float32], camera: tuple[float, ...], baseline: float, doffs: float
) -> str:
    """Write a folder as the data set has it; return the path of the disparity."""
    f, _, cx, cy = camera
    height, width = disparity.shape
    text(
        root,
        f"{scene}/calib.txt",
        f"cam0=[{f} 0 {cx}; 0 {f} {cy}; 0 0 1]\ncam1=[{f} 0 {cx + doffs}; 0 {f} {cy}; 0 0 1]\n"
        f"doffs={doffs}\nbaseline={baseline}\nwidth={width}\nheight={height}\nndisp=290\nisint=0\nvmin=54\nvmax=273\n"
        "dyavg=0\ndymax=0\n",
    )
    picture(root, f"{scene}/im0.png")
    pfm(root, f"{scene}/disp1.pfm", disparity + 1, scale="-0.003922")
    return pfm(root, f"{scene}/disp0.pfm", disparity, scale="-0.003922")


def nyu(root: Path, name: str) -> Tree:
    """One MATLAB 7.3 file, which is HDF5 with the axes reversed: 480×640×1449 is stored as 1449×640×480."""
    frames = {
        "depths": [spread((480, 640), values) for values in ([0.713, 1, 3.25, 9.995], [2, 4, 5.5])],
        "rawDepths": [spread((480, 640), values) for values in ([0.713, 0, 3.25, 9.995], [0, 4, 5.5])],
    }
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        for key, maps in frames.items():
            file[key] = np.stack([depth.T for depth in maps])
        file["images"] = np.zeros((2, 3, 640, 480), np.uint8)
        file.create_group("#refs#")
    with (root / "nyu_depth_v2_labeled.mat").open("r+b") as content:
        content.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\0\2IM")
    camera = (518.8579, 519.4696, 325.5824, 253.7362)
    return {f"nyu_depth_v2_labeled.mat/{index:06}": Truth(depth, camera) for index, depth in enumerate(frames[name])}


def nyu_raw(root: Path) -> Tree:
    """Kinect's codes of 11 bits in a PGM whose two bytes are swapped: 351.3 / (1092.5 - code), at most 10 m."""
    tree = {}
    for frame in "1294886360.208451-2996770081", "1294886360.241812-2998770113":
        codes = spread((480, 640), [400, 700, 1000, 1057, 1058, 1092, 1093, 2047, 0], "u2")
        key = f"bedroom_0001/d-{frame}.pgm"
        new(root, key).write_bytes(b"P5 640 480 65535\n" + codes.astype("<u2").tobytes())
        text(root, f"bedroom_0001/r-{frame}.ppm", "P6 1 1 255\nrgb")
        z = 351.3 / (1092.5 - codes.astype(float))
        truth = metres(z, (z < 0) | (z > 10))
        tree[key] = Truth(truth, (582.6245, 582.6910, 313.0448, 238.4439), "bedroom_0001", ulp=2)
    return tree


def scannet(root: Path) -> Tree:
    """Millimetres, as its SensReader exports them; K of the depth camera in a 4×4 matrix of the scene."""
    tree = {}
    for scene, camera in ("scene0000_00", KS[0]), ("scene0706_01", KS[1]):
        matrix = np.eye(4)
        matrix[:3, :3] = k_matrix(camera)
        for kind, values in ("depth", matrix), ("color", matrix * 2):
            rows = "\n".join(" ".join(f"{each:f}" for each in row) for row in values)
            text(root, f"scans/{scene}/intrinsic/intrinsic_{kind}.txt", rows + "\n")
        for frame in "0", "1450":
            codes = spread(SMALL, [1, 999, 4321, 65534, 65535, 0], "u2")
            key = png(root, f"scans/{scene}/depth/{frame}.png", codes)
            image = picture(root, f"scans/{scene}/color/{frame}.jpg")
            tree[key] = Truth(metres(codes / 1000, codes == SATURATED), camera, f"scans/{scene}", image)
    return tree


def scannetpp(root: Path) -> Tree:
    """Millimetres of 256×192; K of the frame is of the 1920×1440 image: 7.5 times larger, from the pixels' corners."""
    tree, frames = {}, {}
    for frame, f in ("frame_000000", 1450.0), ("frame_000010", 1462.5):
        frames[frame] = {"timestamp": 0.5, "pose": np.eye(4).tolist(), "imu": {"magnet": {"x": 1}}}
        frames[frame]["intrinsic"] = [[f, 0, 962.0], [0, f, 717.5], [0, 0, 1]]
        codes = spread((192, 256), [1, 999, 4321, 65534, 65535, 0], "u2")
        key = png(root, f"data/0a5c013435/iphone/depth/{frame}.png", codes)
        image = picture(root, f"data/0a5c013435/iphone/rgb/{frame}.jpg")
        camera = f / 7.5, f / 7.5, 962.5 / 7.5 - 0.5, 718 / 7.5 - 0.5
        tree[key] = Truth(metres(codes / 1000, codes == SATURATED), camera, "data/0a5c013435", image)
    as_json(root, "data/0a5c013435/iphone/pose_intrinsic_imu.json", frames)
    return tree


def taskonomy(root: Path) -> Tree:
    """1/512 m of a square image, holes are 65535; the angle of view of the frame in radians."""
    tree = {}
    for view, angle in ("point_0_view_0", 1.0), ("point_12_view_3", 0.75):
        codes = spread((8, 8), [1, 511, 512, 5000, 65534, 65535, 0], "u2")
        below = "taskonomy/ackermanville"
        key = png(root, f"depth_zbuffer/{below}/{view}_domain_depth_zbuffer.png", codes)
        png(root, f"depth_euclidean/{below}/{view}_domain_depth_euclidean.png", codes + 1)
        info = {"camera_uuid": "79e9f7", "field_of_view_rads": angle, "resolution": 512, "point_uuid": "0"}
        as_json(root, f"point_info/{below}/{view}_domain_point_info.json", info)
        image = picture(root, f"rgb/{below}/{view}_domain_rgb.png")
        focal = 4 / math.tan(angle / 2)
        tree[key] = Truth(metres(codes / 512, codes == 65535), (focal, focal, 4, 4), below, image)
    return tree


TUM = {1: (517.3, 516.5, 318.6, 255.3), 2: (520.9, 521.0, 325.1, 249.7), 3: (535.4, 539.2, 320.1, 247.6)}


def tum(root: Path, camera: int) -> Tree:
    """1/5000 m, registered to the colour camera, whose calibration the file-format page has; colour has other times."""
    tree = {}
    for scene in "xyz", "desk_validation":
        for stamp in "1305031102.160407", "1305031102.194330":
            codes = spread((480, 640), [1, 4999, 5000, 65535, 0], "u2")
            key = png(root, f"rgbd_dataset_freiburg{camera}_{scene}/depth/{stamp}.png", codes)
            picture(root, f"rgbd_dataset_freiburg{camera}_{scene}/rgb/1305031102.175304.png")
            png(root, f"rgbd_dataset_freiburg{camera % 3 + 1}_{scene}/depth/{stamp}.png", codes)
            tree[key] = Truth(metres(codes / 5000), TUM[camera], scene)
    return tree


LAYOUTS: dict[str, Writer] = {
    "arkitscenes": arkitscenes,
    "arkitscenes-highres": arkitscenes_highres,
    "blendedmvs": blendedmvs,
    "co3d": co3d,
    "diode": diode,
    "kitti-completion": kitti_completion,
    "kitti-raw": kitti_raw,
    "matterport3d": matterport3d,
    "middlebury-2014": middlebury_2014,
    "nyu-v2": lambda root: nyu(root, "depths"),
    "nyu-v2-raw": nyu_raw,
    "nyu-v2-unfilled": lambda root: nyu(root, "rawDepths"),
    "scannet": scannet,
    "scannet-pi3": scannet,
    "scannetpp": scannetpp,
    "taskonomy": taskonomy,
    "tum-rgbd-fr1": lambda root: tum(root, 1),
    "tum-rgbd-fr2": lambda root: tum(root, 2),
    "tum-rgbd-fr3": lambda root: tum(root, 3),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_tree_is_read_as_it_was_written(tmp_path: Path, name: str) -> None:
    check_layout(name, tmp_path, LAYOUTS[name](tmp_path))


def test_a_real_frame_of_tum_rgbd(tmp_path: Path) -> None:
    """Its codes are whole millimetres times five, so it is one of freiburg3, where depth was not rescaled."""
    real = DATA / "tum_rgbd" / "depth" / "TUM_depth.png"
    codes = np.asarray(Image.open(real))
    assert np.mean(np.unique(codes) % 5 == 0) > 0.98
    key = "rgbd_dataset_freiburg3_long_office_household/depth/1341847980.722988.png"
    shutil.copy(real, new(tmp_path, key))
    check_layout("tum-rgbd-fr3", tmp_path, {key: Truth(metres(codes / 5000), TUM[3], "long_office_household")})
    assert builtin_descriptions()["tum-rgbd-fr3"].verified


def test_a_real_scene_of_middlebury(tmp_path: Path) -> None:
    """Motorcycle of 2014 as scikit-image ships it, in a quarter of its size: two to five metres, as the scene is."""
    *_, disparity = skimage.data.stereo_motorcycle()
    camera, baseline, doffs = (994.978, 994.978, 311.193, 254.877), 193.001, 31.086
    key = scene_of_middlebury(tmp_path, "Motorcycle-perfect", disparity.astype("f4"), camera, baseline, doffs)
    frame = open_source("middlebury-2014", tmp_path).read(key)
    known = np.isfinite(disparity)
    z = 994.978 * 0.193001 / (disparity.astype(float) + 31.086)
    np.testing.assert_allclose(frame.depth, np.where(known, z, 0), rtol=2.0**-22)
    np.testing.assert_array_equal(frame.valid, known)
    assert 1.5 < frame.depth[known].min() < frame.depth[known].max() < 6
