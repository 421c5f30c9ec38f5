"""(spec, inventory, policy, parent) -> Plan and report. Pure; git's wishes only."""
