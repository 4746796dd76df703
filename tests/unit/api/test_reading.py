"""Step 2: what a caller may send, what is refused, and that nothing of it is echoed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import form
from gateway.api.reading import Asked, Reading, media_type, read_request
from gateway.bundle import pack_cursor
from gateway.bundle.cursor import pack_audit_cursor
from gateway.errors import (
    BadRequest,
    CursorRefused,
    GatewayError,
    IncompleteIdentifier,
    InvalidNhsNumber,
    InvalidParameter,
    NotAcceptable,
    NotFound,
    NotSupported,
    NumberWithoutSystem,
    OperationNotOffered,
    PersonNeeded,
    TooLarge,
)
from gateway.model import Caller, Coding, Organisation, OrganisationKind, Purpose, Query, Staff
from gateway.nhs_number import NhsNumber

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
NUMBER = "9990000107"
SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"
PERSON = "abcdefghijklmnopqrstuvwxyz"
TYPES = frozenset({"Patient", "AllergyIntolerance", "Flag"})


def caller(client: str = "one") -> Caller:
    return Caller(
        organisation=Organisation("ods:A99901", "Riverside", OrganisationKind.GP_PRACTICE),
        system=client,
        staff=Staff("https://fhir.nhs.uk/Id/sds-user-id", "100", "Dr A"),
        role=Coding("s", "R0260"),
        purpose=Purpose.TREAT,
        scopes=frozenset({"system/*.rs"}),
        token_id="t",
        case_reference=None,
        client_version=1,
        address="127.0.0.1",
    )


def read(
    path: str,
    query: str = "",
    body: str = "",
    headers: dict[str, str] | None = None,
    opened: bytes | None = None,
    who: Caller | None = None,
) -> Query:
    reading = Reading(TYPES, True, 100, lambda _: opened)
    segments = [part for part in path.split("/") if part]
    asked = Asked(segments, query.encode(), body.encode(), headers or {}, "r", "c")
    return read_request(asked, who or caller(), reading, NOW).query


@pytest.mark.parametrize(
    "name", ["patient:identifier", "patient.identifier", "subject:identifier", "subject.identifier", "patient:Patient.identifier"]
)
def test_a_type_is_searched_by_nhs_number_under_every_spelling(name):
    query = read("AllergyIntolerance", f"{name}={SYSTEM}|{NUMBER}")
    assert query.person == NhsNumber(NUMBER)
    assert query.types == {"AllergyIntolerance"}


@pytest.mark.parametrize("name", ["patient", "subject", "patient:Patient"])
@pytest.mark.parametrize("value", [PERSON, f"Patient/{PERSON}"])
def test_a_type_is_searched_by_our_own_id(name, value):
    assert read("Flag", f"{name}={value}").person == PERSON


def test_get_and_post_search_mean_the_same():
    by_get = read("Patient", f"identifier={SYSTEM.replace(':', '%3A')}%7C{NUMBER}")
    by_post = read("Patient/_search", body=f"identifier={SYSTEM}|{NUMBER}")
    assert by_get == by_post


def test_everything_may_be_narrowed_by_type():
    assert read(f"Patient/{PERSON}/$everything").types == TYPES
    assert read(f"Patient/{PERSON}/$everything", "_type=Flag").types == {"Flag"}
    with pytest.raises(NotSupported):
        read(f"Patient/{PERSON}/$everything", "_type=Banana")


def test_a_read_keeps_the_whole_id():
    query = read(f"Flag/{PERSON}.gp.abc")
    assert (query.person, query.resource_id) == (PERSON, f"{PERSON}.gp.abc")
    assert read(f"Patient/{PERSON}").resource_id == PERSON


@pytest.mark.parametrize("path", ["Flag/abc", f"Flag/{PERSON}", f"Patient/{PERSON}.gp.abc", "Patient/1", "Flag/1.2.3"])
def test_an_id_that_is_not_ours_is_read_as_an_id_of_nobody(path):
    query = read(path)
    assert query.person == "a" * 26


@pytest.mark.parametrize(
    ("path", "query", "error"),
    [
        ("Patient", "", InvalidParameter),
        ("Patient", f"identifier={NUMBER}", NumberWithoutSystem),
        ("Patient", f"identifier=https://example.org|{NUMBER}", InvalidParameter),
        ("Patient", f"identifier={SYSTEM}|9990000108", InvalidNhsNumber),
        ("Patient", f"identifier={SYSTEM}|", InvalidNhsNumber),
        ("Flag", "", InvalidParameter),
        ("Flag", f"patient={PERSON}&subject={PERSON}", InvalidParameter),
        ("Flag", f"patient={PERSON}&patient={PERSON}", BadRequest),
        ("Flag", "patient=a b", InvalidParameter),
        ("Flag", f"patient={PERSON}&_count=0", InvalidParameter),
        ("Flag", f"patient={PERSON}&_count=-1", InvalidParameter),
        ("Flag", f"patient={PERSON}&_count=1e9", InvalidParameter),
        ("Flag", f"patient={PERSON}&_include=*", NotSupported),
        ("Flag", f"patient={PERSON}&_sort=date", NotSupported),
        ("Flag", f"patient={PERSON}&_summary=count", NotSupported),
        ("Flag", f"patient={PERSON}&_has:Observation:patient:code=1", NotSupported),
        ("Flag", f"patient={PERSON}&patient:foo=1", NotSupported),
        ("Banana", f"patient={PERSON}", NotSupported),
        ("banana", "", NotFound),
        (f"Patient/{PERSON}/$healthy-child-program", "", OperationNotOffered),
        (f"Encounter/{PERSON}/$everything", "", OperationNotOffered),
        ("Patient/$everything", "", OperationNotOffered),
        ("$export", "", OperationNotOffered),
        ("Flag/1/_history/2", "", NotFound),
        ("Flag/a%00b", "", InvalidParameter),
        ("Flag/" + "a" * 65, "", InvalidParameter),
        ("Flag", "patient=%zz", BadRequest),
        ("Flag", "patient=%ff%fe", BadRequest),
        ("Flag", "patient=%00", BadRequest),
        ("Flag", "patient=" + "a" * 3000, TooLarge),
        ("Flag", "&".join(f"p{n}=1" for n in range(60)), TooLarge),
        ("AuditEvent", "outcome=9", InvalidParameter),
        ("AuditEvent", "date=yesterday", InvalidParameter),
        ("AuditEvent", "date=9999-12-31", InvalidParameter),
        ("AuditEvent", "date=ge0001-01-01T00:00:00%2B14:00", InvalidParameter),
        ("AuditEvent", "purpose=CURIOSITY", InvalidParameter),
        ("AuditEvent", "agent=", InvalidParameter),
        ("AuditEvent", "agent=100000000001", IncompleteIdentifier),
        ("AuditEvent", "agent=|100000000001", IncompleteIdentifier),
        ("AuditEvent", "agent:identifier=urn:x:register|", IncompleteIdentifier),
        ("AuditEvent", "organisation=A99901", IncompleteIdentifier),
        ("AuditEvent", "organisation=https://fhir.nhs.uk/Id/ods-organization-code|A99901", IncompleteIdentifier),
        ("AuditEvent", "agent=urn:x:register|1&agent:identifier=urn:x:register|2", BadRequest),
        ("", "_cursor=x", CursorRefused),
    ],
)
def test_bad_input_is_refused_with_its_own_error_and_never_quoted(path, query, error):
    with pytest.raises(error) as refused:
        read(path, query)
    for value in (field.partition("=")[2] for field in query.split("&")):
        if len(value) > 8:
            assert value not in f"{refused.value} {refused.value.public_text} {refused.value.expression}"


def test_unknown_parameters_are_passed_over_unless_the_caller_prefers_strict():
    assert read("Flag", f"patient={PERSON}&colour=red").person == PERSON
    with pytest.raises(NotSupported):
        read("Flag", f"patient={PERSON}&colour=red", headers={"prefer": "handling=strict"})


def test_a_cursor_is_for_the_caller_it_was_made_for_and_for_five_minutes():
    query = Query("search", None, frozenset({"Flag"}), count=3)
    sealed = pack_cursor(query, PERSON, caller(), "Flag/last", NOW - timedelta(seconds=299))
    again = read("", "_cursor=x", opened=sealed)
    assert (again.person, again.types, again.count, again.cursor) == (PERSON, {"Flag"}, 3, "Flag/last")
    with pytest.raises(CursorRefused):
        read("", "_cursor=x", opened=sealed, who=caller("two"))
    late = pack_cursor(query, PERSON, caller(), "Flag/last", NOW - timedelta(seconds=301))
    with pytest.raises(CursorRefused):
        read("", "_cursor=x", opened=late)


@pytest.mark.parametrize("person", [NhsNumber(NUMBER), PERSON, None])
def test_a_cursor_of_the_log_keeps_the_question_and_is_for_its_caller(person):
    query = Query("audit-search", person, frozenset({"AuditEvent"}), count=3, audit={"outcome": "4", "since": "2026-11-01"})
    sealed = pack_audit_cursor(query, caller(), 17, NOW - timedelta(seconds=299))
    again = read("", "_cursor=x", opened=sealed)
    assert again == replace(query, cursor="17")
    for more in ("organisation=ods:A99901", "date=2026-11-22", "_count=1", "colour=red"):
        with pytest.raises(NotSupported):
            read("", f"_cursor=x&{more}", opened=sealed)
    assert read("", "_cursor=x&_format=json", opened=sealed) == again
    with pytest.raises(CursorRefused):
        read("", "_cursor=x", opened=sealed, who=caller("two"))
    with pytest.raises(CursorRefused):
        read("", "_cursor=x", opened=pack_audit_cursor(query, caller(), 17, NOW - timedelta(seconds=301)))


def test_a_member_of_staff_is_found_by_the_system_of_the_token_and_by_the_one_an_audit_event_shows():
    for system in ("gss:E08999901", "urn:shared-care-gateway:staff-of:gss:E08999901"):
        assert read("AuditEvent", f"agent={system}|SW0001").audit == {"agent": "gss:E08999901|SW0001"}
        assert read("AuditEvent", f"agent:identifier={system}|SW0001").audit == {"agent": "gss:E08999901|SW0001"}


def test_an_auditors_question_is_read_into_its_criteria():
    query = read(
        "AuditEvent",
        f"patient:identifier={SYSTEM}|{NUMBER}&date=ge2026-11-01&date=lt2026-11-22&outcome=4&purpose=TREAT&organisation=ods:A99901",
    )
    assert query.person == NhsNumber(NUMBER)
    assert query.audit["since"].startswith("2026-11-01")
    assert query.audit["until"].startswith("2026-11-22")
    whole = read("AuditEvent", "date=gt2026-11-01&date=le2026-11-22").audit
    assert (whole["since"][:10], whole["until"][:10]) == ("2026-11-02", "2026-11-23")
    for dates in permutations(
        ["date=ge2026-11-23", "date=ge2020-01-01", "date=le2026-11-30", "date=2026-11-30", "date=lt2027-01-01"]
    ):
        narrow = read("AuditEvent", "&".join(dates)).audit
        assert (narrow["since"][:10], narrow["until"][:10]) == ("2026-11-30", "2026-12-01")
    assert (
        read("AuditEvent", "date=gt2026-11-23T10:00:00Z&date=ge2026-11-23T11:00:00%2B01:00")
        .audit["since"]
        .endswith("10:00:00.000001+00:00")
    )
    with pytest.raises(NotSupported):
        read("AuditEvent", "pateint:identifier=x")
    assert (query.audit["outcome"], query.audit["purpose"], query.audit["organisation"]) == ("4", "TREAT", "ods:A99901")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", "application/fhir+json"),
        ("application/fhir+json", "application/fhir+json"),
        ("application/json", "application/json"),
        ("text/html, application/json;q=0.9", "application/json"),
        ("application/fhir+json; charset=utf-8", "application/fhir+json"),
    ],
)
def test_the_media_type_follows_accept(accept, media):
    assert media_type({"accept": accept}) == media


def test_a_media_type_we_do_not_offer_is_refused():
    with pytest.raises(NotAcceptable):
        media_type({"accept": "application/xml"})
    with pytest.raises(NotAcceptable):
        media_type({}, b"_format=xml")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw):
    try:
        fields = form.pairs(raw)
    except GatewayError:
        return
    assert all("\x00" not in name + value for name, value in fields)


@pytest.mark.parametrize(("headers", "given"), [({}, False), ({"gateway-permission-to-view": " given "}, True)])
def test_permission_to_view_is_asserted_for_one_request_by_its_header(headers: dict[str, str], given: bool):
    asked = Asked(["Flag"], f"patient={PERSON}".encode(), b"", headers, "r", "c")
    assert read_request(asked, caller(), Reading(TYPES, True, 100, lambda _: None), NOW).permission_to_view is given


@pytest.mark.parametrize("word", ["", "yes", "true", "refused", "given, given", "given\u00a0"])
def test_any_other_word_for_permission_to_view_is_refused_and_not_taken_for_yes(word: str):
    with pytest.raises(InvalidParameter) as refused:
        read("Flag", f"patient={PERSON}", headers={"gateway-permission-to-view": word})
    assert refused.value.expression == "Gateway-Permission-To-View"


def test_parameters_that_mean_nothing_are_counted_named_when_r4_has_them_and_under_strict_handling_refused():
    assert read("Flag", f"patient={PERSON}&colour=red&size=9").not_used == ("", "")
    assert read("Flag", f"patient={PERSON}&code=27113001&code:in=x&size=9").not_used == ("", "code", "code")
    assert read("Patient", f"_id={PERSON}&name=x").not_used == ("name",)
    assert read(f"Patient/{PERSON}/$everything", "_since=2026-01-01").not_used == ("_since",)
    assert read(f"Patient/{PERSON}/$healthy-child-programme", "colour=red").not_used == ("",)
    assert read("Flag", f"patient={PERSON}").not_used == ()
    with pytest.raises(NotSupported):
        read("Flag", f"patient={PERSON}&colour=red", headers={"prefer": "respond-async, handling=strict"})


@pytest.mark.parametrize(
    ("said", "strict"),
    [
        ("handling=strict", True),
        ("respond-async, handling=strict", True),
        ("return=minimal; handling=strict", True),
        ("handling=lenient, handling=strict", False),
        ("nothandling=strict", False),
        ("", False),
    ],
)
def test_a_preference_is_found_wherever_it_stands_in_the_list(said, strict):
    assert read("Flag", f"patient={PERSON}", headers={"prefer": said}).strict is strict


@pytest.mark.parametrize(
    ("path", "query"), [("Patient", "name=Smith"), ("Patient", "birthdate=2024-01-01"), ("Flag", "code=x"), ("Flag", "")]
)
def test_whoever_names_nobody_is_told_how_a_person_is_found(path, query):
    with pytest.raises(PersonNeeded) as refused:
        read(path, query)
    assert "NHS number" in refused.value.public_text
    assert refused.value.expression in ("identifier", "patient")


def test_an_element_of_r4_that_is_not_offered_is_named_and_a_callers_own_word_is_not():
    with pytest.raises(NotSupported) as known:
        read("Flag", f"patient={PERSON}&_include:iterate=*")
    with pytest.raises(NotSupported) as unknown:
        read("Flag", f"patient={PERSON}&secret=1", headers={"prefer": "handling=strict"})
    assert (known.value.expression, unknown.value.expression) == ("_include", None)
