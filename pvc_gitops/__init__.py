"""A private cloud on 3 to 9 machines, described by one git repository.

docs/ARCHITECTURE.md names the rooms and says which may import which.
"""
