"""A data set on disk: its description, how its files are decoded, its frames."""
