"""Heartbeat, lease, watchdog, killing guests; nothing else. Standard library and kazoo only."""
