"""libvirt and QEMU on this node: the domain's XML (pure), the hypervisor, the test of KVM."""
