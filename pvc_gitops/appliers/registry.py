"""Which applier carries out which operation. Total: a new operation must take its place here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pvc_gitops.appliers import disk, image, network, ownership, pool, record, vm
from pvc_gitops.appliers.outcome import Applier
from pvc_gitops.model.plan import Operation

APPLIERS: Final[Mapping[Operation, Applier]] = MappingProxyType(
    {
        Operation.RECORD_PUT: record.PUT,
        Operation.RECORD_DROP: record.DROP,
        Operation.RECORD_MOVE: record.MOVE,
        Operation.RECORD_KEEP: record.KEEP,
        Operation.POOL_CREATE: pool.PUT,
        Operation.POOL_UPDATE: pool.PUT,
        Operation.POOL_DELETE: pool.DELETE,
        Operation.IMAGE_IMPORT: image.IMPORT,
        Operation.IMAGE_DELETE: image.DELETE,
        Operation.DISK_CREATE: disk.CREATE,
        Operation.DISK_GROW: disk.MAKE,
        Operation.DISK_RESTORE: disk.MAKE,
        Operation.DISK_TRASH: disk.TRASH,
        Operation.DISK_PURGE: disk.PURGE,
        Operation.NETWORK_PUT: network.PUT,
        Operation.NETWORK_ENSURE: network.ENSURE,
        Operation.NETWORK_RETIRE: network.PUT,
        Operation.VM_PUT: vm.PUT,
        Operation.VM_STOP: vm.PUT,
        Operation.VM_RETIRE: vm.PUT,
        Operation.VM_FORGET: ownership.FORGET,
        Operation.VM_ADOPT: ownership.ADOPT,
    }
)
