"""Packages of npm that a test runs, installed by the lock file in a folder of tests."""

import json
import shutil
import subprocess
from pathlib import Path

from not_installed import not_installed


def npm_install(source: Path, folder: Path, what: str) -> None:
    """Copy a folder that has a ``package-lock.json``, and install what that names; ``what`` needs it."""
    if not (shutil.which("node") and shutil.which("npm")):
        not_installed(f"{what} was not tried: it needs node and npm")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline", "--ignore-scripts"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stderr


def names_no_registry(source: Path) -> bool:
    """Return whether a lock file has a hash of every package, and the address of none."""
    packages = json.loads((source / "package-lock.json").read_text())["packages"]
    return all("integrity" in package and "resolved" not in package for name, package in packages.items() if name)
