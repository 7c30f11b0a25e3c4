"""The kernel and the pipeline that runs it over a data set. Public names are loaded when first used (PEP 562).

Imports nothing: this is what the `precompute` command runs before it can deal with Ctrl-C (cli/interrupt.py).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers take it for True; "as" makes a name public for them
    from depthvar.datasets.params import Difference as Difference
    from depthvar.datasets.params import KernelParams as KernelParams

    from .api import RunResult as RunResult
    from .api import plan as plan
    from .api import run as run
    from .cli.info import cache_info as cache_info
    from .inspection.inspect import Inspection as Inspection
    from .inspection.inspect import inspect as inspect
    from .kernel.api import sigma_z2 as sigma_z2
    from .loader_check.check import check_loader as check_loader
    from .pictures.preview import preview as preview
    from .pipeline.plan import Plan as Plan
    from .validation.finding import Report as Report
    from .validation.validate import validate as validate
else:
    _LAZY = {
        "Difference": "depthvar.datasets.params",
        "Inspection": ".inspection.inspect",
        "KernelParams": "depthvar.datasets.params",
        "Plan": ".pipeline.plan",
        "Report": ".validation.finding",
        "RunResult": ".api",
        "cache_info": ".cli.info",
        "check_loader": ".loader_check.check",
        "inspect": ".inspection.inspect",
        "plan": ".api",
        "preview": ".pictures.preview",
        "run": ".api",
        "sigma_z2": ".kernel.api",
        "validate": ".validation.validate",
    }
    __all__ = list(_LAZY)

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)

    def __dir__() -> list[str]:
        return __all__
