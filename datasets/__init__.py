"""Depth sources, the cache format and its reader. Public names are loaded when first used (PEP 562)."""

TYPE_CHECKING = False
if TYPE_CHECKING:  # type checkers read it as True; "as" makes a name public for them
    from .cache.sigma_cache import SigmaCache as SigmaCache
    from .errors import CacheError as CacheError
    from .errors import DepthVarError as DepthVarError
    from .errors import DescriptionError as DescriptionError
    from .errors import FrameNotFoundError as FrameNotFoundError
    from .errors import ParameterError as ParameterError
    from .errors import SourceError as SourceError
    from .errors import StoreError as StoreError
    from .frame import Frame as Frame
    from .loaders.attach import attach as attach
    from .loaders.dataset import CachedDepthDataset as CachedDepthDataset
    from .lookup.resize import resize_depth as resize_depth
    from .source.depth_source import DepthSource as DepthSource
    from .source.open_source import open_source as open_source
    from .source.source import Source as Source
else:
    _LAZY = {
        "CacheError": ".errors",
        "CachedDepthDataset": ".loaders.dataset",
        "DepthSource": ".source.depth_source",
        "DepthVarError": ".errors",
        "DescriptionError": ".errors",
        "Frame": ".frame",
        "FrameNotFoundError": ".errors",
        "ParameterError": ".errors",
        "SigmaCache": ".cache.sigma_cache",
        "Source": ".source.source",
        "SourceError": ".errors",
        "StoreError": ".errors",
        "attach": ".loaders.attach",
        "open_source": ".source.open_source",
        "resize_depth": ".lookup.resize",
    }
    __all__ = list(_LAZY)

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)

    def __dir__() -> list[str]:
        return __all__
