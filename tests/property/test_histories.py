"""Random histories of one cluster: guests and volumes come, go, are renamed with and without a word, come
back, are forgotten, protected, rolled back; plans are cut off in the middle; days pass.

After every step: the plan verifies; nothing protected and nothing declared loses its data; who keeps a
record keeps its uuid, its MACs and its disks; who comes back is who he was; nothing leaves the trash
before its time; no two objects share an identity or data; and what was applied plans to nothing.
"""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pvc_gitops.model.ids import CommitId
from pvc_gitops.model.records import Phase
from pvc_gitops.planner.check import problems
from pvc_gitops.planner.inventory import empty
from pvc_gitops.planner.planner import POLICY, plan
from pvc_gitops.planner.remaining import amid
from pvc_gitops.planner.replay import applied_after
from pvc_gitops.spec.load import load
from pvc_gitops.spec.load import problems as faults

DAY = 24 * 3600
KEEP = 7 * DAY
GUESTS = ("g1", "g2", "g3", "g4")
VOLUMES = ("v1", "v2")
MEMORY = ("96MiB", "112MiB", "128MiB")


def document(kind, name, spec):
    body = {"apiVersion": "pvc/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return json.dumps(body).encode()  # JSON is YAML


def founding(budget):
    core = {
        net: {"subnet": f"10.{second}.0.0/24"}
        for net, second in (("upstream", 20), ("cluster", 21), ("storage", 22))
    }
    cluster = {
        "domain": "lab.example",
        "networks": core,
        "apply": {"max_destroy": {"vms": budget}, "max_disrupt": {"reboots": 1}},
        "ha": {"admission": "none"},
    }
    files = {"cluster.yaml": document("Cluster", "lab", cluster)}
    for number in (1, 2, 3):
        addresses = {
            net: f"10.{second}.0.{number}"
            for net, second in (("upstream", 20), ("cluster", 21), ("storage", 22))
        }
        spec = {
            "role": "coordinator",
            "hardware": {"cpus": 4, "memory": "4GiB"},
            "addresses": addresses,
            "osds": [{"file": {"path": "/var/lib/pvc/osd0", "size": "6GiB"}}],
        }
        files[f"nodes/hv{number}.yaml"] = document("Node", f"hv{number}", spec)
    files["pools/vms.yaml"] = document("Pool", "vms", {"copies": 3})
    dhcp = {"start": "10.100.0.100", "end": "10.100.0.199"}
    ipv4 = {"subnet": "10.100.0.0/24", "gateway": "10.100.0.1", "dhcp": dhcp}
    network = {"type": "managed", "vni": 1000, "ipv4": ipv4}
    files["networks/app.yaml"] = document("Network", "app", network)
    return files


def own_data(record):
    """(pool, image) of what is its own."""
    if record.kind == "volume":
        return {(ref.pool, ref.image) for ref in record.disks.values()}
    if record.kind != "vm":
        return set()
    disks = record.spec["disks"]
    return {(r.pool, r.image) for n, r in record.disks.items() if not disks[n].get("volume")}


def is_there(inventory, ref):
    return f"{ref[0]}/{ref[1]}" in inventory.storage.images


def in_trash(inventory, ref):
    return any(entry.name == ref[1] for entry in inventory.storage.trash.get(ref[0], ()))


class History(RuleBasedStateMachine):
    """One cluster and its repository."""

    @initialize(budget=st.integers(0, 3), begin=st.integers(0, 2), data=st.data())
    def found(self, budget, begin, data):
        self.files = founding(budget)
        self.commits = []
        self.inventory = empty(self.spec(self.files), 0)
        for name, memory in zip(GUESTS[:3], MEMORY, strict=True):
            disks = [{"name": "root", "pool": "vms", "size": "64MiB"}]
            spec = {"cpu": {"vcpus": 1}, "memory": memory, "disks": disks}
            spec |= {"nics": [{"network": "app"}], "reboot_for_changes": "now"}
            self.files[f"vms/{name}.yaml"] = document("VirtualMachine", name, spec)
        self.identity = {}  # address -> (uuid, data) when it was last seen, for who comes back
        self.apply(self.files)
        # What random steps seldom come to by themselves.
        if begin == 0:
            self.a_name_taken_over(data)
        elif begin == 1:
            self.removed_and_brought_back(data, data.draw(st.integers(0, 8)))

    def spec(self, files):
        return load(files, commit=CommitId(f"{len(self.commits):040x}"))

    # --- what people do ---

    def of_folder(self, folder):
        paths = (path for path in self.files if path.startswith(f"{folder}/"))
        return sorted(path.split("/")[1].removesuffix(".yaml") for path in paths)

    @rule(data=st.data())
    def declare_guest(self, data):
        free = [name for name in GUESTS if name not in self.of_folder("vms")]
        name = data.draw(st.sampled_from(free or GUESTS))
        used = b"".join(text for path, text in self.files.items() if path.startswith("vms/"))
        volumes = [v for v in self.of_folder("volumes") if f'"{v}"'.encode() not in used]
        disks = [{"name": "root", "pool": "vms", "size": "64MiB"}]
        if volumes and data.draw(st.booleans()):
            disks.append({"name": "shared", "volume": volumes[0]})
        spec = {
            "cpu": {"vcpus": 1},
            "memory": data.draw(st.sampled_from(MEMORY)),
            "disks": disks,
            "nics": [{"network": "app"}],
            "protect": data.draw(st.integers(0, 7)) == 0,
            "reboot_for_changes": "now",
        }
        self.commit({f"vms/{name}.yaml": document("VirtualMachine", name, spec)})

    @rule(name=st.sampled_from(VOLUMES))
    def declare_volume(self, name):
        spec = {"pool": "vms", "size": "64MiB" if name == "v1" else "128MiB"}
        self.commit({f"volumes/{name}.yaml": document("Volume", name, spec)})

    @precondition(lambda self: self.of_folder("vms"))
    @rule(data=st.data(), is_said=st.booleans())
    def remove_guests(self, data, is_said):
        names = data.draw(st.sets(st.sampled_from(self.of_folder("vms")), min_size=1, max_size=2))
        gone = {f"vms/{name}.yaml": None for name in sorted(names)}
        words = {"removed": sorted(f"vm/{name}" for name in names)} if is_said else {}
        self.commit(gone, words)

    @precondition(lambda self: self.of_folder("volumes"))
    @rule(data=st.data())
    def remove_volume(self, data):
        name = data.draw(st.sampled_from(self.of_folder("volumes")))
        self.commit({f"volumes/{name}.yaml": None})

    @precondition(lambda self: self.of_folder("vms"))
    @rule(data=st.data())
    def forget(self, data):
        name = data.draw(st.sampled_from(self.of_folder("vms")))
        self.commit({f"vms/{name}.yaml": None}, {"forgotten": [f"vm/{name}"]})

    @precondition(lambda self: 0 < len(self.of_folder("vms")) < len(GUESTS))
    @rule(data=st.data(), is_said=st.integers(0, 3))
    def rename(self, data, is_said):
        self.renamed(data, is_said=bool(is_said))

    def renamed(self, data, *, is_said):
        known = self.of_folder("vms")
        old = data.draw(st.sampled_from(known))
        new = data.draw(st.sampled_from([name for name in GUESTS if name not in known]))
        source = self.files[f"vms/{old}.yaml"]
        text = source.replace(f'"name": "{old}"'.encode(), f'"name": "{new}"'.encode())
        words = {"moved": [{"from": f"vm/{old}", "to": f"vm/{new}"}]} if is_said else {}
        self.commit({f"vms/{old}.yaml": None, f"vms/{new}.yaml": text}, words)

    @precondition(lambda self: 0 < len(self.of_folder("vms")) < len(GUESTS))
    @rule(data=st.data())
    def take_over_a_name(self, data):
        self.a_name_taken_over(data)

    def a_name_taken_over(self, data):
        """One is renamed, and its old name is another's at once; then either may go."""
        before = self.of_folder("vms")
        self.renamed(data, is_said=True)
        self.everybody()
        freed = [name for name in before if name not in self.of_folder("vms")]
        if not freed:
            return
        disks = [{"name": "root", "pool": "vms", "size": "64MiB"}]
        spec = {
            "cpu": {"vcpus": 2},
            "memory": "96MiB",
            "disks": disks,
            "nics": [{"network": "app"}],
        }
        self.commit({f"vms/{freed[0]}.yaml": document("VirtualMachine", freed[0], spec)})
        gone = data.draw(st.sampled_from(self.of_folder("vms")))
        self.commit({f"vms/{gone}.yaml": None}, {"removed": [f"vm/{gone}"]})

    @precondition(lambda self: self.of_folder("vms"))
    @rule(data=st.data(), days=st.integers(0, 8))
    def remove_and_bring_back(self, data, days):
        self.removed_and_brought_back(data, days)

    def removed_and_brought_back(self, data, days):
        files = self.files
        name = data.draw(st.sampled_from(self.of_folder("vms")))
        self.commit({f"vms/{name}.yaml": None}, {"removed": [f"vm/{name}"]})
        self.days_pass_by(days)
        self.apply(files)

    @rule()
    def everybody_restarts(self):
        self.everybody()

    def everybody(self):
        """So that nobody bears an older name in libvirt any more."""
        nodes = {
            name: replace(
                facts, guests={vm: replace(g, bears="") for vm, g in facts.guests.items()}
            )
            for name, facts in self.inventory.nodes.items()
        }
        self.inventory = replace(self.inventory, nodes=nodes)

    @precondition(lambda self: len(self.commits) > 1)
    @rule(data=st.data())
    def roll_back(self, data):
        self.apply(data.draw(st.sampled_from(self.commits)))

    @rule(days=st.integers(1, 9))
    def days_pass(self, days):
        self.days_pass_by(days)

    def days_pass_by(self, days):
        self.inventory = replace(self.inventory, now_s=self.inventory.now_s + days * DAY)
        self.apply(self.files)

    @rule(data=st.data())
    def cut_off(self, data):
        """The plan of this commit ends somewhere in the middle, and the next one goes on."""
        spec = self.spec(self.files)
        made = plan(spec, self.inventory, POLICY, self.inventory.target)
        done = made.steps[: data.draw(st.integers(0, len(made.steps)))]
        after = amid(applied_after(made, self.inventory, done), made)
        self.inventory = replace(after, accepted=spec.commit)
        self.apply(self.files)

    # --- what the cluster does ---

    def commit(self, change, words=None):
        files = {**self.files, **change}
        files.pop("transitions.yaml", None)
        files = {path: text for path, text in files.items() if text is not None}
        if words:
            files["transitions.yaml"] = document("Transitions", "transitions", words)
        if not faults(files):  # else it is not adopted
            self.apply(files)

    def apply(self, files):
        self.files = files
        self.commits.append(files)
        spec, before = self.spec(files), self.inventory
        made = plan(spec, before, POLICY, before.target)
        assert problems(made, before) == ()
        after = replace(applied_after(made, before), target=made.id, accepted=spec.commit)
        after = replace(after, chosen={}, leases={})
        self.nothing_is_lost(spec, before, after)
        self.who_is_there_is_who_he_was(before, after)
        then = plan(spec, after, POLICY, made.id)
        assert [step.id for step in then.steps] == []
        self.inventory = after

    def nothing_is_lost(self, spec, before, after):
        for of, record in before.applied.items():
            if record.phase is not Phase.PRESENT:
                continue
            is_meant = bool(spec.transitions.says("forgotten", of))
            if record.spec.get("protect") or of in spec.documents or is_meant:
                lost = {ref for ref in own_data(record) if is_there(before, ref)}
                assert all(is_there(after, ref) for ref in lost), of
            else:
                assert all(
                    is_there(after, ref) or in_trash(after, ref) for ref in own_data(record)
                ), of
        restored = {key for key in after.storage.images if key not in before.storage.images}
        for pool, entries in before.storage.trash.items():
            left = {entry.id for entry in after.storage.trash.get(pool, ())}
            for entry in entries:
                is_back = f"{pool}/{entry.name}" in restored
                assert entry.id in left or is_back or entry.until_s <= before.now_s, entry

    def who_is_there_is_who_he_was(self, before, after):
        by_uuid = {r.uuid: r for r in before.applied.values() if r.uuid}
        data = {}
        for of, record in after.applied.items():
            old = by_uuid.get(record.uuid)
            if old is not None and record.kind in ("vm", "volume"):
                kept = own_data(old) & own_data(record)
                assert own_data(old) <= own_data(record) or record.spec != old.spec, of
                if old.kind == "vm" and old.spec["nics"] == record.spec["nics"]:
                    assert old.nics == record.nics, of
                assert kept, of
            for ref in own_data(record):
                assert data.setdefault(ref, of) == of, (of, data[ref])
            known = self.identity.get(of)
            was_gone = of not in before.applied or before.applied[of].phase is Phase.TRASHED
            if known is not None and was_gone and record.phase is Phase.PRESENT:
                uuid, refs = known
                if any(in_trash(before, ref) for ref in refs) and of in self.present(before):
                    assert record.uuid == uuid, of
        for of, record in after.applied.items():
            if record.phase is Phase.TRASHED:
                self.identity[of] = (record.uuid, own_data(record))

    def present(self, inventory):
        """Addresses whose data lies in the trash under a record that waits for it."""
        return {of for of, r in inventory.applied.items() if r.phase is Phase.TRASHED}


TestHistories = History.TestCase
TestHistories.settings = settings(
    max_examples=8,
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
