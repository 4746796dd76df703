"""What a child health service leaves as files and not as messages, from its drop folder to the answer a partner system gets."""

import json
from typing import Any

from test_intake import deliver
from whole_place import World, eventually, resources

from gateway.connectors.message_batch import COLUMNS, NO_RECORDED
from sandbox import child_health
from sandbox.child_events import early_years, safety_alert
from sandbox.demo import CENTRE, GP, VISITOR
from sandbox.families import BY_KEY, COMMUNITY, Person
from sandbox.folders import put

PETRA, CHLOE = BY_KEY["petra"], BY_KEY["chloe"]
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"


def ours(world: World, asker: Any, kind: str, person: Person) -> list[dict[str, Any]]:
    shown = resources(world.search(asker, kind, person.nhs_number), kind)
    return [one for one in shown if ".child-health." in one["id"]]


def batch(*rows: dict[str, str]) -> bytes:
    """A national batch file in the code page that Windows systems write."""
    lines = [COLUMNS, *([row.get(name, "") for name in COLUMNS] for row in rows)]
    return "\n".join("|".join(f'"{cell}"' for cell in line) for line in lines).encode("cp1252")


def row(person: Person, flag: str, *, lot: str, recorded: str, **more: str) -> dict[str, str]:
    cells = {
        "NHS_NUMBER": person.nhs_number, "PERSON_FORENAME": person.given, "PERSON_SURNAME": "O\\'Hillside",
        "PERSON_DOB": f"{person.birth_date:%Y%m%d}", "PERSON_GENDER_CODE": "2", "PERSON_POSTCODE": "ZZ99 9ZZ",
        "DATE_AND_TIME": "20250612T14050001", "SITE_CODE": COMMUNITY, "SITE_CODE_TYPE_URI": ODS, "UNIQUE_ID": "E2E-1",
        "UNIQUE_ID_URI": "https://batch.sandbox.invalid/id", "ACTION_FLAG": flag, "RECORDED_DATE": recorded,
        "PERFORMING_PROFESSIONAL_SURNAME": "Bl\u00fcmchen", "PRIMARY_SOURCE": "TRUE",
        "VACCINATION_PROCEDURE_CODE": "720539004", "VACCINATION_PROCEDURE_TERM": "First MenB", "DOSE_SEQUENCE": "1",
        "BATCH_NUMBER": lot, "LOCATION_CODE": COMMUNITY, "LOCATION_CODE_TYPE_URI": ODS,
    }  # fmt: skip
    return {**cells, **more}


def lots(world: World) -> set[str]:
    return {jab["lotNumber"] for jab in ours(world, VISITOR, "Immunization", PETRA) if "lotNumber" in jab}


def test_a_batch_file_of_immunisations_reaches_the_caller_and_its_deletion_takes_it_back(world: World) -> None:
    good = row(PETRA, "New", lot="BATCH1", recorded="20250613")
    deliver(world, "child-health", batch_dat=batch(good, row(PETRA, "new", lot="NODAY", recorded="")))
    eventually(lambda: "BATCH1" in lots(world))
    assert "NODAY" not in lots(world)
    said = [event["detail"] for event in world.events(kind="intake") if "NODAY" not in json.dumps(event)]
    assert {NO_RECORDED: 1} in [one["doubtful"] for one in said if one.get("kept") == 1]  # the row, with its reason
    (jab,) = [jab for jab in ours(world, VISITOR, "Immunization", PETRA) if jab.get("lotNumber") == "BATCH1"]
    assert (jab["status"], jab["occurrenceDateTime"]) == ("completed", "2025-06-12T14:05:00+01:00")
    assert [one["actor"]["display"] for one in jab["performer"] if "display" in one["actor"]] == ["Bl\u00fcmchen"]
    updated = row(PETRA, "UPDATE", lot="BATCH2", recorded="20250701")
    deliver(world, "child-health", late_dat=batch(updated), older_dat=batch(good))
    eventually(lambda: "BATCH2" in lots(world))
    assert "BATCH1" not in lots(world)
    deliver(world, "child-health", gone_dat=batch(row(PETRA, "delete", lot="BATCH2", recorded="20250702")))
    eventually(lambda: not {"BATCH1", "BATCH2"} & lots(world))


def test_contacts_of_an_extract_reach_the_caller_once_the_crosswalk_knows_whose_they_are(world: World) -> None:
    contacts = (
        "CCI,SRI,LPI,CContactDate,CContactTime,OrgCodeComm,ConsultType,CCSubject,Medium,LocCode,SiteCode,AttendCode,TeamType\n"
        f"E2E-C1,R1,CHIS-77,2025-11-03,10:15,{COMMUNITY},01,01,01,A01,{COMMUNITY}01,5,16\n"
        f"E2E-C2,R1,CHIS-77,2025-12-03,10:15,{COMMUNITY},01,01,01,A01,{COMMUNITY}01,3,16\n"
    )
    activities = (
        "CAI,CCI,ActivityCode,ProcScheme,ProcCode,FindingScheme,FindingCode,ObsScheme,ObsCode,ObsValue,UCUMUnit\n"
        "E2E-A1,E2E-C1,10,,,,,03,27113001,9.8,kg\nE2E-A2,E2E-C2,10,,,,,,,,\n"
    )
    crosswalk = put(
        world.place.folder / "chis.csv",
        "local_id,nhs_number,birth_date,verified_on,verified_by\n"
        f"CHIS-77,{PETRA.nhs_number},{PETRA.birth_date.isoformat()},2026-06-01,matching team\n".encode(),
    )
    assert world.command("crosswalk", "import", str(crosswalk), "--source", "child-health").returncode == 0
    deliver(world, "child-health", contacts_csv=contacts.encode(), activities_csv=activities.encode())

    def visits() -> dict[str, dict[str, Any]]:
        found = ours(world, VISITOR, "Encounter", PETRA)
        named = [(one, identifier["value"]) for one in found for identifier in one.get("identifier", ())]
        return {value: one for one, value in named if value.startswith("E2E-C")}

    eventually(lambda: len(visits()) == 2)
    had, missed = visits()["E2E-C1"], visits()["E2E-C2"]
    assert (had["status"], missed["status"]) == ("finished", "cancelled")  # 5 was seen, 3 did not come
    assert "0021" in {coding["code"] for coding in had["type"][0]["coding"]}
    weighed = [one for one in ours(world, VISITOR, "Observation", PETRA) if one["encounter"]["reference"].endswith(had["id"])]
    assert [(one["valueQuantity"]["value"], one["valueQuantity"]["code"]) for one in weighed] == [(9.8, "kg")]
    assert "CHIS-77" not in json.dumps([had, missed, *weighed])


def test_progress_whose_form_does_not_ask_a_parent_reaches_the_gp_and_not_the_centre(world: World) -> None:
    told = child_health._told(CHLOE, lambda person, at: early_years(person, at, consent="Y"))
    (form,) = [each["resource"] for each in told["entry"] if each["resource"]["resourceType"] == "QuestionnaireResponse"]
    form["item"] = [item for item in form["item"] if item["linkId"] != "parentalConsent"]
    deliver(world, "child-health", unasked_json=json.dumps(told).encode())
    eventually(lambda: len(ours(world, GP, "QuestionnaireResponse", CHLOE)) == 1)
    assert ours(world, CENTRE, "QuestionnaireResponse", CHLOE) == []


def test_a_safety_alert_is_kept_and_goes_to_nobody_whose_agreement_does_not_name_warnings(world: World) -> None:
    told = json.dumps(child_health._told(CHLOE, safety_alert))
    rows = "select count(*) from shelf"
    ((before,),) = world.ask_database(rows)
    deliver(world, "child-health", alert_json=told.encode())
    eventually(lambda: world.ask_database(rows) == [(before + 1,)])
    for asker in (GP, VISITOR, CENTRE):
        assert ours(world, asker, "Flag", CHLOE) == []
        assert "Placeholder came by" not in world.everything(asker, "chloe").text
