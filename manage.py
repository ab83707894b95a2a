#!/usr/bin/env python
"""Django's command line, with the embedded services running where they are needed."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The repository root and platform/ are source roots; neither is a package.
sys.path[:0] = [p for p in (str(ROOT), str(ROOT / "platform")) if p not in sys.path]
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tuneloop.settings")

if __name__ == "__main__":
    from tuneloop.main import main

    main(sys.argv)
