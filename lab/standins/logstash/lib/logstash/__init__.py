"""The lab's stand-in for Logstash: Python's standard library only, Python 3.11 to 3.13."""

from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
VERSION = (HOME / "VERSION").read_text().strip()
