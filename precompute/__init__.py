"""The kernel and the pipeline that runs it over a data set. Public names are loaded when first used (PEP 562).

Imports nothing: this is what the `precompute` command runs before it can deal with Ctrl-C (cli/interrupt.py).
"""

TYPE_CHECKING = False  # for type checkers it is True
if TYPE_CHECKING:
    from depthvar.datasets.params import Difference, KernelParams

    from .api import RunResult, plan, run
    from .cli.info import cache_info
    from .kernel.api import sigma_z2
    from .loader_check.check import check_loader
    from .pipeline.plan import Plan
    from .validation.validate import Report, validate

_LAZY = {
    "Difference": "depthvar.datasets.params",
    "KernelParams": "depthvar.datasets.params",
    "Plan": ".pipeline.plan",
    "Report": ".validation.validate",
    "RunResult": ".api",
    "cache_info": ".cli.info",
    "check_loader": ".loader_check.check",
    "plan": ".api",
    "run": ".api",
    "sigma_z2": ".kernel.api",
    "validate": ".validation.validate",
}

__all__ = [
    "Difference",
    "KernelParams",
    "Plan",
    "Report",
    "RunResult",
    "cache_info",
    "check_loader",
    "plan",
    "run",
    "sigma_z2",
    "validate",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
