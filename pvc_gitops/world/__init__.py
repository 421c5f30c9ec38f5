"""The ports through which everything touches reality."""
