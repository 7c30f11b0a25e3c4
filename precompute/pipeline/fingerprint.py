"""What a stored σ was computed from: the fingerprint of the parameters, and the digest of a frame."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from depthvar.datasets.cache.attributes import canonical_json
from depthvar.datasets.frame import Frame


def fingerprint(parameters: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the parameters' canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(parameters)).hexdigest()


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
