import json
import shutil
from datetime import date
from importlib.resources import files

import pytest
from policy_world import FOLDER

from gateway.policy import PolicyFaults, check, fingerprint, load


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped policy that a test may break."""
    place = tmp_path / "consent_policy"
    shutil.copytree(FOLDER, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


def change(file, old, new):
    text = file.read_text("utf-8")
    assert old in text, old
    file.write_text(text.replace(old, new, 1), "utf-8")


def faults(folder):
    with pytest.raises(PolicyFaults) as found:
        load(folder)
    return [str(fault) for fault in found.value.faults]


def test_the_shipped_policy_loads_from_its_package_and_from_a_folder_alike(folder):
    assert load(files("consent_policy")).hash == load(folder).hash == fingerprint(folder)


def test_the_hash_covers_the_bytes_and_the_name_of_every_file_that_is_read(folder):
    seen = {fingerprint(folder)}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".cedar", ".cedarschema", ".yaml", ".json"):
            text = path.read_bytes()
            path.write_bytes(text + b"\n")
            seen.add(fingerprint(folder))
            path.write_bytes(text)
            moved = path.rename(path.with_stem(path.stem + "x"))
            seen.add(fingerprint(folder))
            moved.rename(path)
    count = sum(path.suffix in (".cedar", ".cedarschema", ".yaml", ".json") for path in folder.rglob("*"))
    assert len(seen) == 1 + 2 * count


def test_what_is_not_read_changes_nothing(folder):
    before = fingerprint(folder)
    (folder / "notes.txt").write_text("words")
    assert fingerprint(folder) == before


CARE = "direct-care.cedar"


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (CARE, '@id("direct-care-gp")', "", "direct-care.cedar: give every rule an @id"),
        (CARE, '@id("direct-care-gp")', '@id("Direct care!")', "direct-care.cedar: give every rule an @id"),
        (CARE, '@id("direct-care-gp")', '@id("source-lock")', "forbid.cedar: @id source-lock is used twice"),
        (CARE, '@because("A GP of', '@because("', ""),
        (CARE, '@owner("Caldicott Guardian, Northshire")', "", "direct-care.cedar: direct-care-gp: add @owner"),
        (CARE, '@review_by("2027-10-01")', '@review_by("soon")', "direct-care-gp: write @review_by as YYYY-MM-DD"),
        (CARE, '@review_by("2027-10-01")', '@review_by("2027-02-30")', "direct-care-gp: write @review_by as YYYY-MM-DD"),
        (CARE, '@review_by("2027-10-01")', "", "direct-care-gp: add @review_by"),
        (CARE, "law:hsca2012-s251b", "law:made-up", "direct-care-gp: @basis law:made-up is no row of law/"),
        (CARE, '@owner("Caldicott', '@note("x") @owner("Caldicott', "direct-care-gp: remove @note, which nothing reads"),
        (CARE, "context.organisation_kind", "context.organization_kind", "does not fit the schema"),
        (CARE, 'Role::"gp"', 'Role::"gpp"', "does not fit the schema"),
        (CARE, 'Category::"allergies"', 'Category::"alergies"', "does not fit the schema"),
        (CARE, "permit (", "permit permit (", "direct-care.cedar: not Cedar"),
        (CARE, 'principal == Role::"gp"', "principal == ?principal", "templates are not used here"),
        (CARE, '@needs_consent("share-health")\npermit', "permit", "add @needs_consent with that scope"),
        (CARE, '@needs_consent("share-health")', '@needs_consent("store")', 'a condition must name Scope::"store"'),
        (
            CARE,
            'when { [Purpose::"TREAT", Purpose::"COC"].contains(context.purpose) }',
            'when { [Purpose::"TREAT", Purpose::"ETREAT"].contains(context.purpose) }',
            "centre-involvement-to-health: consent is never needed for ETREAT",
        ),
        ("schema.cedarschema", '"allergies", ', "", "entity Category must list exactly what the model does"),
        ("schema.cedarschema", "entity Role enum", "entity Role enumm", "schema.cedarschema: mend the schema"),
        ("roles.yaml", "  gp:", "  gpp:", "roles.yaml: group gpp is not in the schema's list"),
        ("roles.yaml", "  gp:", "  unknown:", "roles.yaml: group unknown is not in the schema's list of roles, or may not"),
        ("roles.yaml", "code: R0270", "code: R0260", "roles.yaml: group gp: a code belongs to one group only"),
        ("roles.yaml", ", display: Auditor of access", "", "roles.yaml: group auditor: add display"),
        ("roles.yaml", "review_by: 2027-10-01", "review_by: soon", "roles.yaml: the file: review_by must be a date"),
        ("roles.yaml", "owner:", "owner: x\nowner:", "roles.yaml: line 2: not YAML this gateway reads (the same key twice)"),
        ("roles.yaml", "groups:", "groups: {}\nmore:", "roles.yaml: the file: remove more, which nothing reads"),
        ("organisations.yaml", 'code: "ods:A99902"', 'code: "ods:A99901"', "two organisations share an identifier"),
        ("organisations.yaml", 'code: "ods:A99902"', 'code: "A99902"', "code must be ods:, gss: or dfe-urn:"),
        ("organisations.yaml", "kind: gp-practice", "kind: surgery", "kind must be one of"),
        ("organisations.yaml", "    name: Riverside Surgery\n", "", "organisations.yaml: an organisation: add name"),
        ("organisations.yaml", 'also: ["urn:shared-care-gateway:dfe-lea|999"]', "also: [1]", "also must be a list"),
        ("law/england.yaml", "    from: 1991-10-14", "    to: 1999-10-14", "ca1989-s17: add from"),
        ("law/england.yaml", "- id: ca1989-s17", "- id: ca1989-s27", "ca1989-s27 is there twice"),
        ("law/england.yaml", "from: 1991-10-14", "from: 14 October", "a row of law: from must be a date"),
        ("agreements/gp-record.yaml", "id: gp-record", "id: gp", "agreements/gp-record.yaml: id must be the file's name"),
        ("agreements/gp-record.yaml", "dpia: DPIA-2026-011\n", "", "agreements/gp-record.yaml: the agreement: add dpia"),
        ("agreements/gp-record.yaml", "dpia: DPIA-2026-011\n", 'dpia: ""\n', "the agreement: dpia must be a str"),
        ("agreements/gp-record.yaml", "gives: registered-practice", "gives: somebody", "gives must be an organisation"),
        ("agreements/gp-record.yaml", "expires: 2028-03-31", "expires: 2026-01-01", "must follow each other"),
        (
            "agreements/gp-record.yaml",
            "purposes: [TREAT",
            "purposes: [TREET",
            "flow direct-care: purposes names what does not exist: TREET",
        ),
        ("agreements/gp-record.yaml", "categories: [demographics", "categories: [demo", "names what does not exist: demo"),
        ("agreements/gp-record.yaml", "basis: [uk-gdpr-6-1-e", "basis: [made-up", "names what does not exist: made-up"),
        ("agreements/gp-record.yaml", "basis: [uk-gdpr-6-1-e", "basis: []\n    note: [uk-gdpr-6-1-e", "remove note"),
        ("agreements/gp-record.yaml", 'to: ["ods:A99901"', 'to: ["ods:NONE"', "to names what does not exist: ods:NONE"),
        (
            "agreements/gp-record.yaml",
            '{organisation: "ods:A99901"',
            '{organisation: "ods:NONE"',
            "a signature names an organisation",
        ),
        ("agreements/child-health-record.yaml", "- id: s17", "- id: s47", "flows: at least one, each with its own id"),
    ],
)
def test_a_fault_is_refused_with_its_file_and_what_to_do(folder, file, old, new, says):
    change(folder / file, old, new)
    if not says:
        assert load(folder)
        return
    assert any(says in fault for fault in faults(folder)), faults(folder)


def test_every_fault_is_listed_at_once(folder):
    change(folder / CARE, '@id("direct-care-gp")', "")
    change(folder / "agreements/gp-record.yaml", "dpia: DPIA-2026-011\n", "")
    (folder / "roles.yaml").unlink()
    (folder / "organisations.yaml").write_text("- a list\n")
    found = faults(folder)
    assert any("give every rule an @id" in fault for fault in found)
    assert any("add dpia" in fault or "gives must be" in fault for fault in found)
    assert "organisations.yaml: must be a mapping of names to values" in found


@pytest.mark.parametrize("name", ["schema.cedarschema", "organisations.yaml", "roles.yaml"])
def test_a_file_that_is_missing_is_named(folder, name):
    (folder / name).unlink()
    assert f"{name}: add this file" in faults(folder)


def test_a_folder_without_law_rules_or_agreements_is_no_policy(folder, tmp_path):
    shutil.rmtree(folder / "law")
    assert "law/: add at least one file with rows of law" in faults(folder)
    for file in folder.glob("*.cedar"):
        file.unlink()
    assert "*.cedar: add at least one rule" in faults(folder)
    assert faults(tmp_path / "nowhere") == ["nowhere: is not a folder"]


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("roles.yaml", b"\xff\xfe", "roles.yaml: is not UTF-8 text"),
        ("roles.yaml", b"a: [", "roles.yaml: line 1: not YAML"),
        ("roles.yaml", b"a: !!python/object:os.system x", "not YAML this gateway reads"),
        ("roles.yaml", b"a: \x00", "roles.yaml: is not YAML"),
        ("forbid.cedar", b"\xff\xfe", "*.cedar: write rules and schema as UTF-8 text"),
        ("cases/deny/a-new-case-of-mine.json", b"{", "is not JSON"),
        ("cases/deny/a-new-case-of-mine.json", b"[]", "must be a JSON object"),
        ("cases/deny/a-new-case-of-mine.json", b'{"a": 1, "a": 2}', "names the same key twice"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, name, body, says):
    (folder / name).write_bytes(body)
    assert any(says in fault for fault in faults(folder)), faults(folder)


def case(**changes):
    made = {
        "shows": "direct-care-gp",
        "given": {"organisation": "ods:A99901", "role": "a|b", "purpose": "TREAT", "on": "2026-11-21"},
        "ask": {"category": "allergies", "care_class": "health", "agreement": "gp-record"},
        "decided_by": ["default-deny"],
    }
    return {**made, **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shows": "no-such-rule"}, "shows names a rule that does not exist"),
        ({"ask": {}}, "name a category or a mark, not both"),
        ({"ask": {"category": "allergies", "mark": "opinion"}}, "name a category or a mark, not both"),
        ({"ask": {"category": "odd"}}, "that does not exist"),
        ({"ask": {"category": "allergies", "note": "x"}}, "ask: remove note"),
        ({"given": {**case()["given"], "on": "soon"}}, "that does not exist"),
        ({"given": {**case()["given"], "age_band": "old"}}, "age_band must be one of"),
        ({"given": {"organisation": "ods:A99901"}}, "given: add role"),
        ({"given": {**case()["given"], "consents": []}}, "consents must be a dict"),
        ({"more": 1}, "remove more"),
    ],
)
def test_a_case_that_cannot_be_run_is_a_fault(folder, changes, says):
    (folder / "cases/deny/a-new-case-of-mine.json").write_text(json.dumps(case(**changes)))
    assert any(says in fault for fault in faults(folder)), faults(folder)


def found_by(folder):
    return [str(fault) for fault in check(load(folder))]


def test_a_case_that_comes_out_the_other_way_is_found(folder):
    (folder / "cases/permit/a-new-case-of-mine.json").write_text(json.dumps(case()))
    assert found_by(folder) == ["cases/permit/a-new-case-of-mine.json: came out the other way: decided by default-deny"]


def test_a_case_decided_by_another_rule_than_it_says_is_found(folder):
    (folder / "cases/deny/a-new-case-of-mine.json").write_text(json.dumps(case(decided_by=["source-lock"])))
    says = "was decided by default-deny, not by what decided_by says"
    assert found_by(folder) == [f"cases/deny/a-new-case-of-mine.json: {says}"]


def test_a_case_that_cannot_be_evaluated_is_found(folder):
    odd = case(given={**case()["given"], "relationships": ["a-kind-nobody-listed"]})
    (folder / "cases/deny/a-new-case-of-mine.json").write_text(json.dumps(odd))
    assert found_by(folder) == ["cases/deny/a-new-case-of-mine.json: the rules could not be evaluated on it"]


def test_an_organisation_or_agreement_nobody_knows_gets_nothing(folder):
    odd = case(
        given={**case()["given"], "organisation": "ods:NOBODY"},
        ask={"category": "allergies", "agreement": "none"},
        decided_by=["no-agreement"],
    )
    (folder / "cases/deny/a-new-case-of-mine.json").write_text(json.dumps(odd))
    assert found_by(folder) == []


def test_a_rule_without_a_case_on_each_side_is_found(folder):
    for file in (folder / "cases").rglob("*.json"):
        if json.loads(file.read_text())["shows"] == "keep-opinion":
            file.unlink()
    assert found_by(folder) == [
        f"marks.cedar: keep-opinion: add a case that shows it to cases/{kind}/" for kind in ("permit", "deny")
    ]


def test_a_rule_that_can_never_apply_is_found(folder):
    change(folder / "marks.cedar", 'when { context.purpose == Purpose::"S47" }', "when { false }")
    case_of_it = "cases/permit/facts-about-others-stay-in-a-section-47-answer.json"
    assert found_by(folder) == [f"{case_of_it}: came out the other way: decided by default-deny"]


def test_a_rule_that_no_case_sees_decide_is_found(folder):
    for file in (folder / "cases/deny").glob("*.json"):
        tree = json.loads(file.read_text())
        if tree["shows"] == "centre-stops-at-a-death":
            tree["decided_by"] = ["default-deny"]
            tree["given"]["deceased"] = False
            tree["given"]["relationships"] = []
            file.write_text(json.dumps(tree))
    assert found_by(folder) == ["forbid.cedar: centre-stops-at-a-death: no case sees it decide, so it may never apply: add one"]


# --------------------------------------------------------------------------------------------------- dates and signatures

ON = date(2026, 11, 21)


def test_an_agreement_opens_its_flows_from_its_first_day_to_its_last(folder):
    policy = load(folder)
    days = {
        date(2026, 3, 31): False,
        date(2026, 4, 1): True,
        date(2028, 3, 31): True,
        date(2028, 4, 1): False,
    }
    for day, opened in days.items():
        assert ("gp-record#direct-care" in policy.agreements_in_force("ods:A99901", day)) is opened
        assert ("gp-record" in policy.agreements_in_force("ods:A99901", day)) is opened


def test_a_party_that_has_not_signed_has_no_flow_and_the_others_keep_theirs(folder):
    change(
        folder / "agreements/gp-record.yaml", '  - {organisation: "ods:A99901", by: Caldicott Guardian, date: 2026-03-10}\n', ""
    )
    policy = load(folder)
    assert "gp-record#direct-care" not in policy.agreements_in_force("ods:A99901", ON)
    assert "gp-record#direct-care" in policy.agreements_in_force("ods:RXX99", ON)


def test_a_giver_that_has_not_signed_closes_every_flow(folder):
    file = folder / "agreements/child-health-record.yaml"
    change(file, '  - {organisation: "ods:RXX99", by: Medical Director, date: 2026-03-16}\n', "")
    in_force = load(folder).agreements_in_force("ods:A99901", ON)
    assert not [name for name in in_force if name.startswith("child-health-record")]


def test_a_signature_to_come_does_not_count(folder):
    change(
        folder / "agreements/gp-record.yaml",
        "by: Caldicott Guardian, date: 2026-03-10",
        "by: Caldicott Guardian, date: 2027-01-01",
    )
    assert "gp-record" not in load(folder).agreements_in_force("ods:A99901", ON)


def test_a_basis_that_is_not_in_force_closes_the_flows_that_rest_on_it(folder):
    change(folder / "law/england.yaml", "citation: Children Act 1989, section 47\n    from: 1991-10-14", "citation: x\n    from:")
    in_force = load(folder).agreements_in_force("gss:E08999901", ON)
    assert "law:ca1989-s47" not in in_force
    assert "authority-record#s47" not in in_force
    assert "authority-record#s17" in in_force


def test_a_law_that_ended_is_off_the_day_after(folder):
    change(
        folder / "law/england.yaml",
        "citation: Children Act 1989, section 47\n    from: 1991-10-14",
        "citation: x\n    from: 1991-10-14\n    to: 2026-11-20",
    )
    policy = load(folder)
    assert "law:ca1989-s47" in policy.agreements_in_force("gss:E08999901", date(2026, 11, 20))
    assert "law:ca1989-s47" not in policy.agreements_in_force("gss:E08999901", ON)
