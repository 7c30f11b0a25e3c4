"""Depth losses that take σ² maps: pure functions, and ``nn.Module`` classes that call them. Needs torch only.

Public names are loaded when first used (PEP 562): :mod:`.weights`, which pictures use too, needs no torch.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers take it for True; "as" makes a name public for them
    from .focused import depth_range3 as depth_range3
    from .focused import focus_weight as focus_weight
    from .focused import focused_log_l1 as focused_log_l1
    from .focused import gradient_matching as gradient_matching
    from .functional import inverse_depth_l1 as inverse_depth_l1
    from .functional import laplace_nll as laplace_nll
    from .functional import weighted_l1 as weighted_l1
    from .modules import FocusedLogL1 as FocusedLogL1
    from .modules import GradientMatching as GradientMatching
    from .modules import InverseDepthL1 as InverseDepthL1
    from .modules import LaplaceNLL as LaplaceNLL
    from .modules import WeightedL1 as WeightedL1
else:
    _LAZY = {
        "FocusedLogL1": ".modules",
        "GradientMatching": ".modules",
        "InverseDepthL1": ".modules",
        "LaplaceNLL": ".modules",
        "WeightedL1": ".modules",
        "depth_range3": ".focused",
        "focus_weight": ".focused",
        "focused_log_l1": ".focused",
        "gradient_matching": ".focused",
        "inverse_depth_l1": ".functional",
        "laplace_nll": ".functional",
        "weighted_l1": ".functional",
    }
    __all__ = list(_LAZY)

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        try:
            return getattr(import_module(_LAZY[name], __name__), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(  # with the words of depthvar.datasets.extras, which is not imported here
                f"{__name__}.{name} needs torch, which is not installed: pip install 'depthvar[torch]'; without a GPU "
                "the small build: pip install torch --index-url https://download.pytorch.org/whl/cpu"
            ) from error

    def __dir__() -> list[str]:
        return __all__
