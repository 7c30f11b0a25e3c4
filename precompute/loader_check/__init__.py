"""A check of a user's own loader."""
