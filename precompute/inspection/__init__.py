"""A look at a few frames of a data set before a run: what they hold, and what looks as if it is read wrongly."""
