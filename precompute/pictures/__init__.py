"""Frames as people look at them: depth, σ and weights in colour, in files, viewers and the terminal."""
