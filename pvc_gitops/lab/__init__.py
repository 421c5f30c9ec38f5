"""A real cluster in containers on one machine."""
