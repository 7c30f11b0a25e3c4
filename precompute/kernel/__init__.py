"""The kernel: its parameters, and an engine per file."""
