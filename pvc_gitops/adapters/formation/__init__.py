"""The hands of a node's first start: files, commands, systemd, certificates, peers, ZooKeeper, Ceph.

Each module touches one thing of the machine. What is written comes from `pvc_gitops.formation`, which
is pure.
"""
