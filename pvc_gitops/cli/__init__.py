"""One file a noun; no decision in it."""
