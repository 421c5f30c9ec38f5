"""Documents to model: bytes in, model or Problems out."""
