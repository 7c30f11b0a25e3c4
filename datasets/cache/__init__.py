"""The cache format and its reader."""
