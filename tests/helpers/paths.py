"""Where the repository and the tests' own configs are."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'tests' / 'configs'
TINY = CONFIGS / 'tiny.py'
