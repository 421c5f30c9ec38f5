"""Ceph on this node, by rados and rbd: the Pools and Images ports."""
