#!/usr/bin/env python3
"""Build the image of a node. Needs root, Debian, and the packages that `build.py packages` prints.

build.py image      base and software layers; prints JSON {"layers": [top, …, bottom]}
build.py base       only Debian, without our software
build.py guest      the tiny test guest: one bootable raw disk image
build.py packages   Debian packages that the host needs
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from pvc_image.main import main  # the path above comes first

if __name__ == "__main__":
    sys.exit(main())
