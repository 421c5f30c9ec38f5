"""Builds the root file system that every node boots: lab, ISO and upgrade alike (DESIGN D14).

Two layers: `base` is Debian as `manifest.toml` lists it, `software` is our own package on top of
it. Standard library only, so that a checkout on a bare Debian machine can build its image before
anything is installed.
"""
