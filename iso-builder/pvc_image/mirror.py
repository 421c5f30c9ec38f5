"""Where packages come from: the mirror and proxy that this machine's own apt uses. Nothing is
written down.
"""

from __future__ import annotations

import re

from pvc_image.errors import ImageError
from pvc_image.process import output

# mmdebstrap does not read the host's apt.conf: what reaching the mirror may need is passed on.
_PASSED_ON = re.compile(r"^Acquire::(?:https?::Proxy |Check-(?:Valid-Until|Date) )")


def find_mirror() -> str:
    """The first Debian archive of the host's apt."""
    found = parse_index_targets(
        output("apt-get", "indextargets", "--format", "$(SITE) $(CREATED_BY)", timeout_s=30)
    )
    if found is None:
        raise ImageError(
            "apt on this machine knows no Debian mirror",
            "add one to /etc/apt/sources.list.d and run `apt-get update`",
        )
    return found


def parse_index_targets(text: str) -> str | None:
    """The site of the first package index whose path ends in /debian."""
    for line in text.splitlines():
        site, _, created_by = line.rpartition(" ")
        if created_by == "Packages" and site.rstrip("/").endswith("/debian"):
            return site
    return None


def apt_options() -> tuple[str, ...]:
    """Settings of apt that mmdebstrap needs to reach the mirror as the host does."""
    return parse_apt_config(output("apt-config", "dump", timeout_s=30))


def parse_apt_config(text: str) -> tuple[str, ...]:
    """The lines about proxies and dates, without those that are empty."""
    return tuple(
        line for line in text.splitlines() if _PASSED_ON.match(line) and not line.endswith('"";')
    )
