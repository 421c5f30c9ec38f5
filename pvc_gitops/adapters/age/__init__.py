"""age keys and the SOPS file format: pyrage does age, `cryptography` the AES that SOPS prescribes."""
