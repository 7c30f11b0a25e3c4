"""What a stored σ was computed from: parameters, their fingerprint, and the digest of a frame."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from depthvar.datasets.cache.attributes import canonical_json
from depthvar.datasets.frame import Frame
from depthvar.datasets.params import Estimator, params_to_json
from depthvar.datasets.source.source import Source
from depthvar.precompute.kernel.api import KERNEL_VERSION


def parameters(
    source: Source, params: Estimator, strides: tuple[int, ...], keepbits: int, with_depth: bool
) -> dict[str, Any]:
    """Return all that decides the stored values, JSON-ready. Path, workers, device and shard size do not."""
    rule = source.describe().get("depth", {})
    return {
        "kernel_version": KERNEL_VERSION,
        **params_to_json(params),
        "strides": list(strides),
        "max_depth": source.max_depth,
        "keepbits": keepbits,
        "with_depth": with_depth,
        "decode_rule": {name: value for name, value in rule.items() if name != "max_depth"},
    }


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the parameters' canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(parameters)).hexdigest()


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return one phrase per parameter that differs, naming both values; none only where the fingerprints are equal.

    Parameters that only one of two estimators has are left out: that the estimators differ is enough.
    """
    names = dict.fromkeys((*stored, *wanted))
    if stored.get("estimator") != wanted.get("estimator"):
        names = dict.fromkeys(name for name in names if name in stored and name in wanted)
    found = []
    for name in names:
        old, new = stored.get(name), wanted.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new)
        elif canonical_json(old) != canonical_json(new):
            found.append(f"{name} is {old!r} in the cache and {new!r} in this run")
    return found


def frame_digest(frame: Frame, fingerprint: str) -> bytes:
    """Return the SHA-256 of what σ of this frame is computed from: depth, intrinsics and the fingerprint.

    Validity needs no bytes of its own: a decoded depth is 0 where unknown and ``+inf`` where far without a depth,
    and the maximum depth is part of the fingerprint.
    """
    height, width = frame.depth.shape
    digest = hashlib.sha256(f"{fingerprint} {height} {width} ".encode())
    digest.update(np.ascontiguousarray(frame.intrinsics, dtype="<f8").data)
    digest.update(np.ascontiguousarray(frame.depth, dtype="<f4").data)
    return digest.digest()


def provenance() -> dict[str, str]:
    """Return the versions of the software that computes: recorded in the cache, not part of the fingerprint."""
    packages = ("depthvar", "numpy", "numba", "numcodecs")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}
