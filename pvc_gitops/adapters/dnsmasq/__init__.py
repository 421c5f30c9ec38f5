"""DHCP for a node's own guests: one dnsmasq a network, as a systemd unit of its own."""
