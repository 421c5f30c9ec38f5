"""One file a kind: from what is wanted and what is, to steps."""
