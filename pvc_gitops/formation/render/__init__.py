"""Configuration files of a node's daemons, one module a daemon. Pure: typed values in, text out."""
