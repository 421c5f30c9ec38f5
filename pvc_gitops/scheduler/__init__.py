"""Who can host what: fit, score, place, N-1. Pure."""
