"""Is σ² attached to the right pixels? A user's own samples against the kernel run on their own depth."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthvar.datasets.cache import SigmaCache
from depthvar.datasets.errors import ParameterError

from .kernel import KernelParams, sigma_z2

Map = NDArray[np.float32]
Key = Callable[[Mapping[str, Any]], str | PathLike[str]]

# A convention is reported when its mean weight error is below this part of that of the samples as they are. The rest
# is what interpolation and the loader's own rounding cost.
CLEARLY_BETTER = 0.95
# Conventions whose error is within this part of the best are told apart by simplicity: the first of them is named.
AS_GOOD = 1.03
ENOUGH_PIXELS = 100
GIVEN = "as it is"


@dataclass(frozen=True)
class Agreement:
    """How well two maps of σ agree as weights.

    Attributes:
        rank: Spearman's rank correlation.
        weight_error: mean |w₁ − w₂| of the weights 1/σ, each divided by its mean.
    """

    rank: float
    weight_error: float


@dataclass(frozen=True)
class LoaderCheck:
    """What :func:`check_loader` found.

    Attributes:
        findings: one line each; empty: the samples are right.
        agreement: of the samples as they are and under each convention tried, the mean over views.
        pixels: compared, over all views.
    """

    findings: tuple[str, ...]
    agreement: dict[str, Agreement]
    pixels: int

    def __str__(self) -> str:
        """Return a line per finding, or one that says that all is right."""
        given = self.agreement.get(GIVEN)
        right = f"right: σ agrees with the kernel on the loader's depth at {self.pixels} pixels"
        if given is not None:
            right += f" (rank correlation {given.rank:.3f}, weight error {given.weight_error:.3f})"
        return "\n".join(self.findings) or right


def check_loader(views: Iterable[Mapping[str, Any]], cache: SigmaCache, key: Key = itemgetter("key")) -> LoaderCheck:
    """Compare σ² in samples of a loader with the kernel run on the samples' own depth.

    Windows that hold an unknown pixel, or one that the loader calls invalid, are left out. A convention is blamed only
    where it fits clearly better in the mean over all views, so that the rounding of sizes in a loader is none: pass
    some eight views with structure in them, from different frames and crops.

    What it cannot see: a missing half pixel where the zoom is near 1. Its thresholds were fitted on rendered scenes;
    how it does on sensor depth is unmeasured.

    Args:
        views: dicts with ``depthmap`` (h, w), ``camera_intrinsics`` (3, 3), ``sigma_Z2``, and, where the loader has it,
            ``valid_mask`` (h, w) bool; arrays or tensors.
        cache: from which their ``sigma_Z2`` was taken.
        key: tells the frame's key from a view; by default ``view["key"]``.

    Returns:
        The findings; none where the samples are right.

    Raises:
        ParameterError: no view, one without ``sigma_Z2``, or none with enough pixels to compare.
        FrameNotFoundError, CacheError: as ``SigmaCache.sample``.
    """
    samples = [_View(view, cache, key(view)) for view in views]
    if not samples:
        raise ParameterError("check_loader: expected some views, got none; pass a few samples of the loader")
    turned = sum(sample.sigma_z2.shape != sample.depth.shape for sample in samples)
    if turned:
        shapes = next((s.sigma_z2.shape, s.depth.shape) for s in samples if s.sigma_z2.shape != s.depth.shape)
        finding = (
            f"transposed: sigma_Z2 is {shapes[0]} where depthmap is {shapes[1]}, in {turned} of {len(samples)} views; "
            "turn sigma_Z2 along where the loader turns depthmap"
        )
        return LoaderCheck((finding,), {}, 0)
    pixels = sum(int(sample.compared.sum()) for sample in samples)
    samples = [sample for sample in samples if sample.compared.sum() >= ENOUGH_PIXELS]
    if not samples:
        raise ParameterError(
            f"check_loader: expected a view with at least {ENOUGH_PIXELS} valid pixels whose windows are valid, got "
            f"{pixels} in all; pass views with more valid depth"
        )
    names = [sample.key for sample in samples]
    tried = [sample.agreements(_others(cache, sample.key, names)) for sample in samples]
    common = [name for name in tried[0] if all(name in found for found in tried)]
    agreement = {
        name: Agreement(
            float(np.mean([found[name].rank for found in tried])),
            float(np.mean([found[name].weight_error for found in tried])),
        )
        for name in common
    }
    findings = [*_units(samples), *(_mixed_up(samples, names) or _convention(agreement))]
    return LoaderCheck(tuple(findings), agreement, pixels)


class _View:
    """One sample, the kernel's σ² on its depth, and where the two can be compared."""

    def __init__(self, view: Mapping[str, Any], cache: SigmaCache, key: str | PathLike[str]) -> None:
        if "sigma_Z2" not in view:
            raise ParameterError(
                'view: expected "sigma_Z2", got none; add cache.annotate(view, key) after the crop and resize'
            )
        self.cache, self.key = cache, key
        self.depth = np.asarray(view["depthmap"], dtype=np.float32)
        self.sigma_z2 = np.asarray(view["sigma_Z2"], dtype=np.float32)
        self.intrinsics = np.array(view["camera_intrinsics"], dtype=np.float64)
        valid = np.isfinite(self.depth) & (self.depth > 0)
        if "valid_mask" in view:
            valid &= np.asarray(view["valid_mask"], dtype=np.bool_)
        params = {name: cache.params[name] for name in ("window", "lambda_prior", "alpha_clamp", "min_valid", "compat")}
        # Without a maximum depth, which is in metres while the loader's depth may not be: it only hides pixels.
        self.online = sigma_z2(np.where(valid, self.depth, np.float32(0)), self.intrinsics, KernelParams(**params))
        self.compared = _whole_windows(valid, params["window"])
        if self.sigma_z2.shape == self.depth.shape:
            self.compared &= np.isfinite(self.sigma_z2)

    def agreements(self, others: list[str]) -> dict[str, Agreement]:
        """Return how well σ² agrees as it is and under every convention, the simplest first."""
        native = self.cache.intrinsics(self.key)
        scale_x, scale_y = native[0] / abs(self.intrinsics[0, 0]), native[1] / self.intrinsics[1, 1]
        candidates: dict[str, Map] = {GIVEN: self.sigma_z2}
        if self.depth.shape[0] == self.depth.shape[1]:  # else its shape tells
            candidates["transposed"] = self.sigma_z2.T
        for resize in ("nearest", "linear"):
            candidates[f"resize={resize!r}"] = self.sampled(resize=resize)
            candidates[f"resize={resize!r}, flip=True"] = self.sampled(resize=resize, flip=True)
            half = (0.5 / scale_x - 0.5, 0.5 / scale_y - 0.5)
            candidates[f"resize={resize!r}, intrinsics with the half pixel"] = self.sampled(*half, resize=resize)
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                if dx or dy:
                    name = f"shifted by ({dx}, {dy}) native pixels"
                    candidates[name] = self.sampled(-dx / scale_x, -dy / scale_y)
        frames = [self.sampled(key=other) for other in others]
        found = {name: _agreement(self.online, values, self.compared) for name, values in candidates.items()}
        if frames:
            of_frames = [_agreement(self.online, values, self.compared) for values in frames]
            found["another frame's"] = min(of_frames, key=lambda one: one.weight_error)
        return found

    def sampled(self, dx: float = 0.0, dy: float = 0.0, key: str | None = None, **options: Any) -> Map:
        """Return σ² with the principal point moved by (dx, dy) output pixels."""
        moved = self.intrinsics.copy()
        moved[:2, 2] += dx, dy
        return self.cache.sample(self.key if key is None else key, moved, self.depth.shape, **options)


def _others(cache: SigmaCache, key: str | PathLike[str], names: list[str | PathLike[str]]) -> list[str]:
    """Return a few keys of frames of the same size: those of the other views, and the neighbours in the cache."""
    keys = cache.keys()
    here = keys.index(str(key)) if str(key) in keys else 0
    near = [*map(str, names[:8]), *keys[max(0, here - 1) : here + 2]]
    return [name for name in dict.fromkeys(near) if name != str(key) and cache.shape(name) == cache.shape(key)]


def _agreement(online: Map, values: Map, compared: NDArray[np.bool_]) -> Agreement:
    """Compare two σ² maps where both have information; no agreement where hardly any pixel is left."""
    used = compared & np.isfinite(values) & np.isfinite(online)
    if used.sum() < ENOUGH_PIXELS / 2 or used.sum() < compared.sum() / 2:
        return Agreement(0.0, np.inf)
    one, two = 1 / np.sqrt(online[used], dtype=np.float64), 1 / np.sqrt(values[used], dtype=np.float64)
    rank = float(np.corrcoef(one.argsort().argsort(), two.argsort().argsort())[0, 1])
    return Agreement(rank, float(np.abs(one / one.mean() - two / two.mean()).mean()))


def _whole_windows(valid: NDArray[np.bool_], window: int) -> NDArray[np.bool_]:
    """Return where the whole window lies inside the image and is valid."""
    half = window // 2
    whole = np.zeros(valid.shape, np.bool_)
    if min(valid.shape) >= window:
        inner = np.lib.stride_tricks.sliding_window_view(valid, (window, window)).all((2, 3))
        whole[half:-half, half:-half] = inner
    return whole


def _mixed_up(samples: list[_View], names: list[str | PathLike[str]]) -> list[str]:
    """Return a finding where a view holds, value for value, what the cache gives for another frame."""
    for sample in samples:
        own = {resize: sample.sampled(resize=resize) for resize in ("nearest", "linear")}
        if any(np.array_equal(values, sample.sigma_z2) for values in own.values()):
            continue
        for other in _others(sample.cache, sample.key, names):
            if any(np.array_equal(sample.sampled(key=other, resize=resize), sample.sigma_z2) for resize in own):
                return [f"another frame's σ: the view of {sample.key} holds that of {other}; pass annotate its own key"]
    return []


def _units(samples: list[_View]) -> list[str]:
    """Return a finding where the kernel's σ is a multiple of the samples'."""
    ratios = []
    for sample in samples:
        used = sample.compared & np.isfinite(sample.online)
        ratios.append(np.sqrt(np.median(sample.online[used] / sample.sigma_z2[used])))
    ratio = float(np.median(ratios))
    if 2 / 3 < ratio < 1.5:
        return []
    return [
        f"other units: the loader's depth gives {ratio:.4g} times the σ of the cache; σ must be in the units of depth: "
        f"pass scale={1 / ratio:.4g} to the loss, or keep depth in metres"
    ]


def _convention(agreement: dict[str, Agreement]) -> list[str]:
    """Return a finding where a convention fits clearly better than the samples as they are, or nothing fits."""
    given = agreement[GIVEN]
    best = min(one.weight_error for one in agreement.values())
    if best < CLEARLY_BETTER * given.weight_error:
        name = next(name for name, one in agreement.items() if one.weight_error <= AS_GOOD * best)
        return [
            f"off by a convention: {name} fits better, weight error {agreement[name].weight_error:.3f} in place of "
            f"{given.weight_error:.3f} (rank correlation {agreement[name].rank:.3f} in place of {given.rank:.3f})"
        ]
    if given.rank < 0.5:
        return [
            f"nothing fits: rank correlation {given.rank:.3f}; are key, depth and intrinsics those of one frame, and "
            "is the view turned? call annotate before the turn"
        ]
    return []
