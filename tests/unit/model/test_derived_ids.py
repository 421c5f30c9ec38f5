"""Derived identities are UUIDs of version 5, as any other program would derive them."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from pvc_gitops.model.ids import address, derived_uuid

NAMESPACE = uuid.UUID("6f3c9d0e-6a52-5d0b-9a51-3f6a6b1f0c11")


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 10**6))
def test_a_derived_uuid_is_the_standard_librarys(cluster_id, name, incarnation):
    of = address("vm", name)
    expected = uuid.uuid5(NAMESPACE, f"{cluster_id}/{of}/{incarnation}")
    assert derived_uuid(cluster_id, of, incarnation) == str(expected)
