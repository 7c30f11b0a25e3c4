"""σ² in a training's data loader."""
