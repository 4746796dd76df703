"""What tests of the store share: a moment, two synthetic numbers, an audit entry."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.nhs_number import NhsNumber
from gateway.ports import Entry
from gateway.store import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CHILD = NhsNumber("9990000018")
OTHER = NhsNumber("9990000026")


def entry(**given: Any) -> Entry:
    plain = Entry(
        kind="decision",
        at=NOW,
        outcome="permit",
        person=CHILD,
        organisation="ods:A99901",
        system="client-1",
        staff="https://fhir.nhs.uk/Id/sds-user-id|555",
        staff_name="Dr A. Example",
        role="https://example.org/role|R1",
        purpose="TREAT",
        request_id="r-1",
        detail={"rules": ["gp-direct-care"]},
    )
    return replace(plain, **given)


async def version(store: Store) -> int:
    facts = await store.facts.read(CHILD, organisation="o", staff="s", case_reference=None, client="c", at=NOW)
    return facts.version
