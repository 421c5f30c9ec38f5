"""The kernel's network on this node: bridges and VXLANs by netlink, rules by nft."""
