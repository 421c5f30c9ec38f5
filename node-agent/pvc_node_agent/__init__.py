"""Thin composition roots: what a node runs, wired from `pvc_gitops`. No decision in here."""
