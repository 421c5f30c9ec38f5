"""Loop bodies: observe, decide, act."""
