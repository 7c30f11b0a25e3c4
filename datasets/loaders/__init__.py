"""σ² in a training's data loader: data sets as torch has them."""

from depthvar.datasets.extras import need_torch

need_torch("a data set of a DataLoader (attach, CachedDepthDataset)")
