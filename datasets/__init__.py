"""Depth sources, the cache format and its reader. Public names are loaded when first used (PEP 562)."""

from typing import TYPE_CHECKING, Any

from .errors import CacheError, DepthVarError, DescriptionError, FrameNotFoundError, ParameterError, SourceError

if TYPE_CHECKING:
    from .cache.sigma_cache import SigmaCache
    from .frame import Frame
    from .loaders.attach import attach
    from .loaders.dataset import CachedDepthDataset
    from .source.depth_source import DepthSource, open_source
    from .source.source import Source

_LAZY = {
    "CachedDepthDataset": "loaders.dataset",
    "DepthSource": "source.depth_source",
    "Frame": "frame",
    "SigmaCache": "cache.sigma_cache",
    "Source": "source.source",
    "attach": "loaders.attach",
    "open_source": "source.depth_source",
}

__all__ = [
    "CacheError",
    "CachedDepthDataset",
    "DepthSource",
    "DepthVarError",
    "DescriptionError",
    "Frame",
    "FrameNotFoundError",
    "ParameterError",
    "SigmaCache",
    "Source",
    "SourceError",
    "attach",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
