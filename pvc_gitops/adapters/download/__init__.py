"""Files from http, https and file URLs: bounded, and verified while they are written."""
