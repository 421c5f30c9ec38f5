"""Run by the image's own Python: does the image hold what our wheel's metadata asks for? Standard
library only.
 What is missing is an error. What is older than asked for is printed: Debian's version is what
ships, so the number in pyproject.toml is the one to correct.
"""

import re
import sys
from importlib import metadata


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", version)[:3])


problems = []
for requirement in metadata.requires("pvc-gitops") or []:
    words, _, marker = requirement.partition(";")
    if "extra" in marker and "'node'" not in marker.replace('"', "'"):
        continue
    match = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([\w.]+))?.*", words.strip())
    if match is None:
        problems.append(f"cannot read {requirement!r}")
        continue
    name, least = match.groups()
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        problems.append(
            f"{name} is not in the image: add Debian's package to manifest.toml, or vendor it"
        )
        continue
    if least and numbers(found) < numbers(least):
        print(f"{name}: pyproject.toml asks for {least} or newer, Debian has {found}")
sys.exit("\n".join(problems) or 0)
