import json
from decimal import Decimal
from typing import Any

import pytest

from gateway.connectors.stu3 import KNOWN, read_stu3
from gateway.errors import SourceContractBroken
from sandbox.child_health import letters
from sandbox.stu3 import to_xml


def read(resource: str) -> Any:
    text = f"""<Bundle xmlns="http://hl7.org/fhir"><type value="message"/><entry><fullUrl value="urn:uuid:1"/>
    <resource>{resource}</resource></entry></Bundle>"""
    return read_stu3(text.encode())["entry"][0]["resource"]


def test_what_repeats_is_a_list_even_when_there_is_one() -> None:
    found = read(
        """<Encounter><identifier><value value="1"/></identifier><type><coding><code value="0021"/></coding></type>
        <location><location><display value="clinic"/></location></location></Encounter>"""
    )
    assert found["identifier"] == [{"value": "1"}]
    assert found["type"] == [{"coding": [{"code": "0021"}]}]
    assert found["location"] == [{"location": {"display": "clinic"}}]


def test_one_name_repeats_in_one_place_and_not_in_another() -> None:
    person = read('<Patient><name><given value="A"/><given value="B"/></name><name><family value="C"/></name></Patient>')
    assert person["name"] == [{"given": ["A", "B"]}, {"family": "C"}]
    assert read('<Location><name value="Clinic"/></Location>')["name"] == "Clinic"


def test_numbers_and_booleans_have_their_type_and_digits() -> None:
    found = read(
        """<Immunization><notGiven value="false"/><doseQuantity><value value="0.50"/><code value="1"/></doseQuantity>
        <vaccinationProtocol><doseSequence value="2"/></vaccinationProtocol><lotNumber value="007"/></Immunization>"""
    )
    assert found["notGiven"] is False
    assert str(found["doseQuantity"]["value"]) == "0.50"
    assert found["doseQuantity"]["code"] == "1"
    assert found["vaccinationProtocol"] == [{"doseSequence": 2}]
    assert found["lotNumber"] == "007"


def test_an_identifier_value_stays_text() -> None:
    assert (
        read('<Patient><identifier><value value="9990001111"/></identifier></Patient>')["identifier"][0]["value"] == "9990001111"
    )


def test_an_extension_on_a_date_is_kept_beside_it() -> None:
    found = read(
        '<Patient><birthDate value="2025-01-09"><extension url="u"><valueString value="x"/></extension></birthDate></Patient>'
    )
    assert found["birthDate"] == "2025-01-09"
    assert found["_birthDate"] == {"extension": [{"url": "u", "valueString": "x"}]}


def test_narrative_goes_but_the_text_of_a_concept_stays() -> None:
    found = read(
        """<Observation><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">Ben</div></text>
        <code><text value="Weight"/></code></Observation>"""
    )
    assert found == {"resourceType": "Observation", "code": {"text": "Weight"}}


def test_nothing_of_an_unread_type_is_read() -> None:
    xml = read('<Basic><id value="c1"/><code><text value="private"/></code><anything value="at all"/></Basic>')
    body = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Basic", "id": "c1", "code": {"text": "private"}}}],
    }
    plain = read_stu3(json.dumps(body).encode())["entry"][0]["resource"]
    assert xml == plain == {"resourceType": "Basic", "id": "c1"}
    assert "Basic" not in KNOWN


@pytest.mark.parametrize(
    "resource",
    [
        '<Immunization><notGiven value="maybe"/></Immunization>',
        '<Immunization><doseQuantity><value value="half"/></doseQuantity></Immunization>',
        '<Immunization><doseQuantity><value value="NaN"/></doseQuantity></Immunization>',
        '<Immunization><status value="completed"/><status value="entered-in-error"/></Immunization>',
        "<Immunization><status/></Immunization>",
        '<Immunization><status xmlns="urn:other" value="completed"/></Immunization>',
        "<Immunization/><Immunization/>",
    ],
)
def test_what_is_not_sound_stu3_is_refused(resource: str) -> None:
    with pytest.raises(SourceContractBroken):
        read(resource)


@pytest.mark.parametrize("body", ['{"resourceType": "Bundle", "id": "\\ud800"}', '{"resourceType": "Bundle", "\\udfff": 1}'])
def test_half_a_surrogate_pair_which_no_store_can_keep_is_refused(body: str) -> None:
    with pytest.raises(SourceContractBroken):
        read_stu3(body.encode())


def test_every_message_of_the_sandbox_reads_alike_from_xml_and_json() -> None:
    count = 0
    for letter in letters():
        from_xml = read_stu3(to_xml(letter.bundle).encode())
        assert from_xml == read_stu3(json.dumps(letter.bundle).encode())
        count += 1
    assert count > 40


def test_a_number_of_json_keeps_its_digits() -> None:
    body = (
        '{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Observation", "valueQuantity": {"value": 3.50}}}]}'
    )
    value = read_stu3(body.encode())["entry"][0]["resource"]["valueQuantity"]["value"]
    assert isinstance(value, Decimal)
    assert str(value) == "3.50"
