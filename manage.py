#!/usr/bin/env python
"""Django's command line, with the embedded services running where they are needed."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The repository root and platform/ are source roots; neither is a package.
sys.path[:0] = [p for p in (str(ROOT), str(ROOT / "platform")) if p not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tuneloop.settings")
# OpenMP's threads sleep while they wait for each other. By default they spin, and where
# a training shares its cores with serving it took six times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if __name__ == "__main__":
    from tuneloop.main import main

    main(sys.argv)
