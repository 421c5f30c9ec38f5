"""The read-only HTTP service."""
