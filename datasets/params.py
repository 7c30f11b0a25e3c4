"""How σ² is computed: the two estimators and their parameters, in Python and in the attributes of a cache."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from .errors import ParameterError
from .scalars import number, require, whole


@dataclass(frozen=True)
class KernelParams:
    """The parameters of the estimator ``"range"``: the range of distances in a window, in a conical frustum.

    They are kept as Python's int and float: equal ones are equal in every cache. NumPy's numbers are accepted too,
    ``np.float32(0.3)`` as 0.3 (see :func:`~depthvar.datasets.scalars.as_float`).

    Attributes:
        window: side of the square neighbourhood whose range of distances is used: 3, 5 or 7 pixels.
        lambda_prior: weight of the pixel's footprint, 0 to 1e9.
        alpha_clamp: largest half-width of the distance interval, as a part of the distance: 1e-6 to 1.
        min_valid: known pixels that a window needs for its range to count, 1 to window².
        compat: ``"pi3"`` reproduces the original online implementation, faults included (window 5 only).
        quantisation_step: metres between two neighbouring values of the stored depth, 0 to 1e9. Rounding to such steps
            is an error of variance step² / 12, as of any uniform distribution of width step, and of half-width
            step / 2. That half-width enters δ in quadrature with the pixel's footprint, along the ray:
            δ² = edge² + prior² + (step / (2 d_z))². 0: not used, and not recorded in a cache.

    Raises:
        ParameterError: a value is not one of these.
    """

    estimator: ClassVar = "range"

    window: int = 5
    lambda_prior: float = 0.5
    alpha_clamp: float = 0.3
    min_valid: int = 3
    compat: Literal["pi3"] | None = None
    quantisation_step: float = 0.0

    def __post_init__(self) -> None:
        window = whole("window", self.window, "3, 5 or 7", lambda side: side in (3, 5, 7))
        most = window**2
        require("compat", self.compat, "None or 'pi3'", self.compat is None or str(self.compat) == "pi3")
        if self.compat is not None:
            require("window", window, "5 with compat='pi3', the only window the original has", window == 5)
        step = _step(self.quantisation_step)
        require(
            "quantisation_step", step, "0 with compat='pi3', as the original has none",
            step == 0 or self.compat is None,
        )  # fmt: skip
        kept = {
            "window": window,
            "lambda_prior": number(
                "lambda_prior", self.lambda_prior, "a number from 0 to 1e9", lambda weight: 0 <= weight <= 1e9
            ),
            "alpha_clamp": number(
                "alpha_clamp", self.alpha_clamp, "a number from 1e-6 to 1", lambda part: 1e-6 <= part <= 1
            ),
            "min_valid": whole(
                "min_valid", self.min_valid, f"a whole number from 1 to window² = {most}", lambda n: 1 <= n <= most
            ),
            "compat": None if self.compat is None else "pi3",
            "quantisation_step": step,
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Difference:
    """The estimator ``"difference"``: the differences of depth to the four neighbours.

    Attributes:
        quantisation_step: metres between two neighbouring values of the stored depth, 0 to 1e9, as of
            :class:`KernelParams`: step² / 12 is added to σ². 0: not used, and not recorded in a cache.
        window: width in pixels of the area on which σ² of a pixel depends.
        lambda_prior: 0: the definition has no prior (docs/method.md).
        alpha_clamp: 1: the half-width of the distance interval is at most the depth.

    Raises:
        ParameterError: the step is not one of these.
    """

    estimator: ClassVar = "difference"

    window: ClassVar = 3
    lambda_prior: ClassVar = 0.0
    alpha_clamp: ClassVar = 1.0
    compat: ClassVar = None

    quantisation_step: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantisation_step", _step(self.quantisation_step))


def _step(value: object) -> float:
    return number("quantisation_step", value, "a number of metres from 0 to 1e9", lambda step: 0 <= step <= 1e9)


Estimator = KernelParams | Difference
ESTIMATORS: dict[str, type[Estimator]] = {kind.estimator: kind for kind in (KernelParams, Difference)}
OPTIONAL = "quantisation_step"  # the parameter that a cache records only where it is used


def params_to_json(params: Estimator) -> dict[str, Any]:
    """Return parameters as a cache records them: the name of the estimator, and its own.

    A step of 0 is left out: a cache that was computed before there was one has the same fingerprint.
    """
    own = {name: value for name, value in asdict(params).items() if name != OPTIONAL or value}
    return {"estimator": params.estimator, **own}


def params_from_json(parameters: Mapping[str, Any]) -> Estimator:
    """Return the estimator that the parameters of a cache name; other entries are left alone.

    Raises:
        ParameterError: it is unknown, or a parameter of its own is missing or none of those allowed.
    """
    kind = ESTIMATORS.get(str(parameters.get("estimator")))
    if kind is None:
        got = repr(parameters.get("estimator", "missing"))[:200]
        raise ParameterError(f"estimator: expected {' or '.join(map(repr, ESTIMATORS))}, got {got}")
    names = [field.name for field in fields(kind)]
    if missing := [name for name in names if name not in parameters and name != OPTIONAL]:
        raise ParameterError(f"{missing[0]}: expected a value, got none")
    return kind(**{name: parameters[name] for name in names if name in parameters})
