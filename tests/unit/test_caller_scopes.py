"""Scope algebra: what is asked, what is registered, what is granted."""

import pytest

from gateway.caller.scopes import narrow, readable


@pytest.mark.parametrize(
    ("asked", "registered", "granted"),
    [
        ("system/Patient.rs", {"system/*.rs"}, {"system/Patient.rs"}),
        ("system/*.rs", {"system/Patient.rs", "system/Flag.r"}, {"system/Patient.rs", "system/Flag.r"}),
        ("system/*.cruds", {"system/*.rs"}, {"system/*.rs"}),
        ("system/Patient.read", {"system/*.read"}, {"system/Patient.rs"}),
        ("system/Patient.*", {"system/Patient.rs"}, {"system/Patient.rs"}),
        ("system/Patient.r system/Patient.s", {"system/*.rs"}, {"system/Patient.rs"}),
        ("system/Patient.write", {"system/*.rs"}, set()),
        ("system/Patient.sr", {"system/*.rs"}, set()),
        ("system/Patient.", {"system/*.rs"}, set()),
        ("system/Patient.rs?category=x", {"system/*.rs"}, set()),
        ("patient/Patient.rs user/Patient.rs launch/patient", {"system/*.rs"}, set()),
        ("system/Flag.rs", {"system/Patient.rs"}, set()),
        ("system/patient.rs SYSTEM/Patient.rs system/Pati\u0435nt.rs", {"system/*.rs"}, set()),
        ("", {"system/*.rs"}, set()),
        ("system/Patient.rs", {"nonsense"}, set()),
    ],
)
def test_what_is_granted_is_asked_and_registered(asked: str, registered: set[str], granted: set[str]) -> None:
    assert narrow(asked, registered) == granted


def test_only_scopes_that_can_be_granted_are_readable() -> None:
    assert readable("system/Patient.rs")
    assert readable("system/*.read")
    assert not readable("system/Patient.")
    assert not readable("patient/*.rs")
