"""One file a resource kind: check, commands, run."""
