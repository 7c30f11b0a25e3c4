"""The built-in sample scene."""
