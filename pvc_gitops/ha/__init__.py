"""Fence, recover, place after a loss. Pure; never reads git."""
