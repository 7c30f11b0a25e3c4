"""Checks of a cache."""
