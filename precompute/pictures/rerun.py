"""Frames for the viewer Rerun: image, depth as a point cloud, σ and weight, along a timeline."""

import os
from collections.abc import Iterable
from os import PathLike

import numpy as np
from PIL import Image

from depthvar.datasets.errors import DepthVarError
from depthvar.datasets.extras import library

from .colour import TABLES, Scale, coloured, limits
from .frames import Shown
from .weights import Form, weight_map
from .write import write_whole

library("rerun", "rerun", "a file for the viewer Rerun")  # before what imports it

import rerun as rr  # noqa: E402
from rerun import blueprint as rrb  # noqa: E402

MAPS = {"image": "camera/image", "σ (m)": "sigma", "weight": "weight"}  # as the viewer names them, and where they are


def write_rrd(frames: Iterable[Shown], path: str | PathLike[str], form: Form = "focus") -> int:
    """Write frames into a file that ``rerun FILE`` opens. Return how many; the file is there only if all are written.

    Each frame is a step of the timeline ``frame``: ``camera/depth`` in metres, which the viewer also shows as a point
    cloud; ``camera/image``; ``sigma`` in metres and ``weight``, as exact numbers, and over them their colours
    on a logarithmic scale (the limits are those of the frame; grey has no value, blue is far); ``key`` as text.

    Args:
        frames: of one size or of several; any iterable. The file is held in memory, compressed, until all are there:
            the viewer also holds it whole.
        path: a local file, by custom ``*.rrd``; replaced if there is one.
        form: which weight.

    Raises:
        ValueError: no frames.
        DepthVarError: the file cannot be written.
    """
    where, count = os.fspath(path), 0
    stream = rr.RecordingStream("depthvar")
    file = stream.binary_stream()  # not stream.save(): on a full disk Rerun's thread ends, and it may wait for ever
    stream.send_blueprint(_layout(), make_active=False)  # a layout of the user goes before it
    for count, frame in enumerate(frames, 1):
        stream.set_time("frame", sequence=count - 1)
        _log(stream, frame, form)
    if not count:
        raise ValueError(f"{where}: expected at least one frame, got none; nothing was written")
    data = file.read()
    assert data is not None
    try:
        write_whole(where, data)
    except OSError as error:
        raise DepthVarError(f"{where}: cannot be written: {error}; fix that, or write elsewhere") from error
    return count


def _log(stream: rr.RecordingStream, frame: Shown, form: Form) -> None:
    (height, width), (fx, fy, cx, cy) = frame.depth.shape, frame.camera
    low, high = limits(frame.depth[frame.valid])
    depth = rr.DepthImage(frame.depth, meter=1.0, depth_range=(low, high), colormap="Viridis")
    # The viewer projects pixel (0, 0) at its index, as depthvar does.
    camera = rr.Pinhole(
        focal_length=(fx, fy), principal_point=(cx, cy), resolution=(width, height), image_plane_distance=0.5
    )
    stream.log("/", rr.ViewCoordinates.RDF, static=True)  # right, down, forward
    stream.log("key", rr.TextDocument(frame.key))
    stream.log("camera", camera)
    stream.log("camera/depth", depth)
    if frame.image is not None:
        pixels = np.asarray(Image.fromarray(frame.image.pixels).resize((width, height), Image.Resampling.BOX))
        stream.log("camera/image", rr.Image(pixels))
    else:
        stream.log("camera/image", rr.Clear(recursive=False))  # else the viewer shows that of the frame before
    weight = weight_map(frame.depth, frame.sigma, form)
    for name, values in (("sigma", frame.sigma), ("weight", weight)):
        scale = Scale(*limits(values), table=TABLES[name])
        stream.log(name, rr.DepthImage(values, meter=1.0, depth_range=(scale.low, scale.high), colormap="Inferno"))
        stream.log(f"{name}/colours", rr.Image(coloured(values, frame.far, scale), opacity=1))


def _layout() -> rrb.Blueprint:
    """Return what the viewer shows at first: a point cloud, from behind the camera, and maps below each other."""
    behind = rrb.EyeControls3D(position=(0, -0.7, -1.5), look_target=(0, 0, 3), eye_up=(0, -1, 0))
    # Its origin must be above the camera: the depth of a camera at the origin has no place in space.
    cloud = rrb.Spatial3DView(origin="/", contents="/camera/**", name="depth (m)", eye_controls=behind)
    maps = [rrb.Spatial2DView(origin=each, name=name) for name, each in MAPS.items()]
    return rrb.Blueprint(
        rrb.Horizontal(cloud, rrb.Vertical(*maps), column_shares=[3, 2]),
        rrb.TimePanel(timeline="frame", fps=2, play_state="paused", state="collapsed"),
        collapse_panels=True,
    )
