"""σ² at the pixels of a cropped and resized view."""
