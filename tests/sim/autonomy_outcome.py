"""What a story of tests/golden/autonomy comes to, as its author reasoned it before anything was played.

`expected.toml` names only what differs from: every node online, every guest running and started once,
nobody proven dead, nobody fenced by itself, at rest. `lost`: nodes whose guests were started once more,
elsewhere. `before`: what came of the fence until another manager led. `outage`: by guest, how many
seconds after its first start it ran again at the latest.
"""

from __future__ import annotations

import tomllib

KEYS = {
    *("nodes", "states", "starts", "lost", "away", "proofs", "self_fenced", "settled"),
    *("before", "outage"),
}


def wrong(text, result):
    """Every way in which a result is not as expected, as sentences."""
    expected = tomllib.loads(text)
    assert expected.keys() <= KEYS, expected.keys() - KEYS
    events = result["events"]
    story = events[[event["kind"] for event in events].index("settled") + 1 :]
    vms = result["vms"]
    found = {
        "settled": result["settled"],
        "proofs": [f"{e['node']} {e['by']}" for e in story if e["kind"] == "death_proven"],
        "self_fenced": [e["node"] for e in story if e["kind"] == "self_fenced"],
        "nodes": {name: str(node["state"]) for name, node in result["nodes"].items()},
        "states": {name: str(vm["state"]) for name, vm in vms.items()},
        "starts": {name: len(vm["starts"]) for name, vm in vms.items()},
    }
    lost = {n: vm["starts"][0]["node"] for n, vm in vms.items() if vm["starts"]}
    lost = {name: node for name, node in lost.items() if node in expected.get("lost", [])}
    wanted = {
        "settled": expected.get("settled", True),
        "proofs": expected.get("proofs", []),
        "self_fenced": expected.get("self_fenced", []),
        "nodes": dict.fromkeys(found["nodes"], "online") | expected.get("nodes", {}),
        "states": dict.fromkeys(vms, "running") | expected.get("states", {}),
        "starts": dict.fromkeys(vms, 1) | dict.fromkeys(lost, 2) | expected.get("starts", {}),
    }
    told = [
        f"{what}: {found[what]}, expected {wanted[what]}"
        for what in wanted
        if found[what] != wanted[what]
    ]
    told += [
        f"{vm} is on {result['vms'][vm]['node']}"
        for vm, node in (lost | expected.get("away", {})).items()
        if vms[vm]["node"] == node
    ]
    if "before" in expected and _before(story) != expected["before"]:
        told.append(f"before: {_before(story)}, expected {expected['before']}")
    return told + _outage(expected.get("outage", {}), vms)


def _before(story):
    """Revocations, proofs, guests given away and power taken, until HA has its next leader."""
    found = []
    for event in story:
        if event["kind"] == "leader" and event["role"] == "ha":
            break
        is_taken = event["kind"] == "power" and event["t"] > story[0]["t"] and not event["on"]
        is_given = event["kind"] == "vm_state" and event["state"] == "recovering"
        if is_taken or is_given or event["kind"] in ("node_revoked", "death_proven"):
            found.append(event["kind"])
    return found


def _outage(limits, vms):
    told = []
    for vm, limit in limits.items():
        last = vms[vm]["starts"][-1]["t"] - vms[vm]["starts"][0]["t"]
        if last > limit:
            told.append(f"{vm} ran again {last:.1f} s after its first start, {limit} s are allowed")
    return told
