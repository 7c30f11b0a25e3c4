"""The scripts of this folder import from tests/helpers and benchmarks. (In pytest, `pythonpath` sees to that.)"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests/helpers"), str(ROOT / "benchmarks")]
