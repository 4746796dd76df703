"""The three benchmark maps in other hands: typed plain Python, JSONata, FPML. Same input, same output as ours.

Each does what the map does: ids, dates checked, codes by table, codes of required bindings checked (Python only: JSONata and
FPML have no way to), the source's own coding kept beside ours, STU3 systems respelt where there is a spelling of R4.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

Resource = dict[str, Any]
Mint = Callable[[str, str], str]
Row = tuple[str, str, str, str]  # system, code, display, the source's own display

UK: Final = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-"
OURS: Final = "urn:shared-care-gateway:CodeSystem:"
ACT: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
CLINICAL: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFIED: Final = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
TABLES: Final[Mapping[str, Mapping[str, Row]]] = {
    "bench-sex": {
        "F": ("http://hl7.org/fhir/administrative-gender", "female", "Female", "Female"),
        "M": ("http://hl7.org/fhir/administrative-gender", "male", "Male", "Male"),
    },
    "bench-need": {
        "N1": ("urn:example:need", "abuse", "Abuse or neglect", "Abuse or neglect"),
        "N5": ("urn:example:need", "stress", "Family in acute stress", "Family in acute stress"),
    },
    "bench-abuse": {
        "NEG": ("urn:example:abuse", "neglect", "Neglect", "Neglect"),
        "EMO": ("urn:example:abuse", "emotional", "Emotional", "Emotional"),
    },
    "bench-outcome": {
        "attended": ("http://hl7.org/fhir/encounter-status", "finished", "Finished", "Attended"),
        "cancelled": ("http://hl7.org/fhir/encounter-status", "cancelled", "Cancelled", "Cancelled"),
    },
    "bench-kind": {"6-8-week": ("urn:example:kind", "review-6w", "6 to 8 week review", "6 to 8 week review")},
}
SYSTEMS: Final = {"http://hl7.org/fhir/v3/ActCode": ACT}
BOUND: Final[Mapping[str, frozenset[str]]] = {
    "clinical": frozenset({"active", "inactive", "resolved"}),
    "verification": frozenset({"unconfirmed", "confirmed", "refuted", "entered-in-error"}),
    "type": frozenset({"allergy", "intolerance"}),
    "category": frozenset({"food", "medication", "environment", "biologic"}),
    "severity": frozenset({"mild", "moderate", "severe"}),
}


CODING: Final = frozenset({"system", "version", "code", "display"})
CONCEPT: Final = frozenset({"coding", "text"})


class NotMapped(Exception):
    """A record that cannot become R4; the text is constant."""


# --------------------------------------------------------------------------------------------------- typed plain Python


def python_cin(record: Mapping[str, Any], person: str, mint: Mint) -> list[Resource]:
    """One child of a census -> Observation, EpisodeOfCares, Flags."""
    child = _text(record, "id")
    if child is None:
        raise NotMapped("the key is absent")
    patient = {"reference": f"Patient/{person}"}
    fact: Resource = {
        "resourceType": "Observation",
        "id": mint("Observation", child),
        "meta": {"profile": [UK + "Observation"]},
        "identifier": [{"system": "urn:example:child-id", "value": child}],
        "status": "final",
        "code": {"coding": [{"system": "urn:example:fact", "code": "sex"}]},
        "subject": patient,
    }
    _put(fact, "effectiveDateTime", _day(_text(record, "born")))
    _put(fact, "valueCodeableConcept", _codeable(_text(record, "sex"), "bench-sex"))
    out = [fact]
    flags: list[Resource] = []
    for referral in _boxes(record, "referrals"):
        began = _text(referral, "began")
        if _text(referral, "nfa") != "1":
            if began is None:
                raise NotMapped("the key is absent")
            episode: Resource = {
                "resourceType": "EpisodeOfCare",
                "id": mint("EpisodeOfCare", f"{_escaped(child)}|{_escaped(began)}"),
                "meta": {"profile": [UK + "EpisodeOfCare"]},
                "status": "active",
                "patient": patient,
            }
            need = _codeable(_text(referral, "need"), "bench-need")
            if need is not None:
                episode["type"] = [need]
            period: Resource = {}
            _put(period, "start", _day(began))
            _put(period, "end", _day(_text(referral, "closed")))
            if period:
                episode["period"] = period
            out.append(episode)
        for plan in _boxes(referral, "plans"):
            start = _text(plan, "start")
            if _text(plan, "end") is not None:
                continue
            if start is None:
                raise NotMapped("the key is absent")
            flag: Resource = {
                "resourceType": "Flag",
                "id": mint("Flag", f"{_escaped(child)}|{_escaped(start)}"),
                "meta": {"profile": [UK + "Flag"]},
                "status": "active",
                "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "safety"}]}],
                "subject": patient,
                "period": {"start": _day(start)},
            }
            code = _codeable(_text(plan, "category"), "bench-abuse")
            if code is None:
                raise NotMapped("Flag.code is required")
            flag["code"] = code
            flags.append(flag)
    return out + flags


def python_contact(record: Mapping[str, Any], person: str, mint: Mint) -> list[Resource]:
    """One contact -> Encounter and Observations."""
    contact = _text(record, "contact_id")
    if contact is None:
        raise NotMapped("the key is absent")
    patient = {"reference": f"Patient/{person}"}
    seen = _text(record, "seen_on")
    day = None if seen is None else _formed(seen)
    ident = mint("Encounter", contact)
    encounter: Resource = {
        "resourceType": "Encounter",
        "id": ident,
        "meta": {"profile": [UK + "Encounter"]},
        "identifier": [{"system": "urn:example:contact", "value": contact}],
        "status": _translated(_text(record, "outcome"), "bench-outcome"),
        "class": {"system": ACT, "code": "AMB"},
        "subject": patient,
    }
    kind = _codeable(_text(record, "kind"), "bench-kind")
    if kind is not None:
        encounter["type"] = [kind]
    by = _text(record, "seen_by")
    if by is not None:
        encounter["participant"] = [{"individual": {"display": by}}]
    if day is not None:
        encounter["period"] = {"start": day}
    out = [encounter]
    for name, field, code, display, unit in (
        ("weight", "weight_kg", "27113001", "Body weight", "kg"),
        ("height", "height_cm", "50373000", "Body height", "cm"),
    ):
        value = _text(record, field)
        if value is None:
            continue
        measured: Resource = {
            "resourceType": "Observation",
            "id": mint("Observation", f"{name}/{contact}"),
            "meta": {"profile": [UK + "Observation"]},
            "status": "final",
            "code": {"coding": [{"system": SNOMED, "code": code, "display": display}]},
            "subject": patient,
            "encounter": {"reference": f"Encounter/{ident}"},
            "valueQuantity": {"value": _number(value), "unit": unit, "system": UCUM, "code": unit},
        }
        _put(measured, "effectiveDateTime", day)
        out.append(measured)
    return out


def python_allergy(record: Mapping[str, Any], person: str, mint: Mint) -> list[Resource]:
    """One STU3 allergy -> AllergyIntolerance."""
    key = _text(record, "id")
    if key is None:
        raise NotMapped("the key is absent")
    out: Resource = {
        "resourceType": "AllergyIntolerance",
        "id": mint("AllergyIntolerance", key),
        "meta": {"profile": [UK + "AllergyIntolerance"]},
        "clinicalStatus": {"coding": [{"system": CLINICAL, "code": _bound(_text(record, "clinicalStatus"), "clinical")}]},
        "verificationStatus": {
            "coding": [{"system": VERIFIED, "code": _bound(_text(record, "verificationStatus"), "verification")}]
        },
        "patient": {"reference": f"Patient/{person}"} if _refers(record.get("patient"), "Patient/") else None,
    }
    if out["patient"] is None:
        raise NotMapped("AllergyIntolerance.patient is required")
    _put(out, "type", _bound(_text(record, "type"), "type"))
    categories = [_bound(one, "category") for one in _several(record, "category")]
    if categories:
        out["category"] = categories
    code = _stu3(record.get("code"))
    if code is None:
        raise NotMapped("AllergyIntolerance.code is required")
    out["code"] = code
    _put(out, "onsetDateTime", _moment(_text(record, "onsetDateTime")))
    _put(out, "recordedDate", _moment(_text(record, "assertedDate")))
    recorder = record.get("recorder")
    if recorder is not None:
        if not isinstance(recorder, dict):
            raise NotMapped("a value of another kind")
        shown_as = _text(recorder, "display")
        if shown_as is not None:
            out["recorder"] = {"display": shown_as}
    notes = [{"text": text} for one in _boxes(record, "note") if (text := _text(one, "text")) is not None]
    if notes:
        out["note"] = notes
    reactions = []
    for one in _boxes(record, "reaction"):
        reaction: Resource = {}
        shown = [concept for part in _several(one, "manifestation") if (concept := _stu3(part)) is not None]
        if not shown:
            raise NotMapped("AllergyIntolerance.reaction.manifestation is required")
        reaction["manifestation"] = shown
        _put(reaction, "description", _text(one, "description"))
        _put(reaction, "severity", _bound(_text(one, "severity"), "severity"))
        reactions.append(reaction)
    if reactions:
        out["reaction"] = reactions
    return [out]


def _text(box: Mapping[str, Any], name: str) -> str | None:
    value = box.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise NotMapped("a value of another kind")
    return value.strip() or None


def _several(box: Mapping[str, Any], name: str) -> list[Any]:
    value = box.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise NotMapped("a value of another kind")
    return value


def _boxes(box: Mapping[str, Any], name: str) -> list[Any]:
    found = _several(box, name)
    for one in found:
        if not isinstance(one, dict):
            raise NotMapped("a value of another kind")
    return found


def _put(box: Resource, name: str, value: Any) -> None:
    if value is not None:
        box[name] = value


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _day(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise NotMapped("not a date") from None


def _formed(text: str) -> str:
    try:
        return datetime.strptime(text, "%d/%m/%Y").date().isoformat()
    except ValueError:
        raise NotMapped("not a date") from None


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if len(text) == 10:
            date.fromisoformat(text)
        elif datetime.fromisoformat(text).tzinfo is None:
            raise NotMapped("a time without its zone")
    except ValueError:
        raise NotMapped("not a date") from None
    return text


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise NotMapped("not a number") from None


def _translated(code: str | None, table: str) -> str:
    row = TABLES[table].get(code or "")
    if row is None:
        raise NotMapped("a code that the table does not know")
    return row[1]


def _codeable(code: str | None, table: str) -> Resource | None:
    if code is None:
        return None
    row = TABLES[table].get(code)
    if row is None:
        raise NotMapped("a code that the table does not know")
    system, target, display, own = row
    return {
        "coding": [{"system": system, "code": target, "display": display}, {"system": OURS + table, "code": code, "display": own}]
    }


def _bound(code: str | None, binding: str) -> str | None:
    if code is not None and code not in BOUND[binding]:
        raise NotMapped("a code outside the binding")
    return code


def _refers(value: Any, prefix: str) -> bool:
    return isinstance(value, dict) and str(value.get("reference", "")).startswith(prefix)


def _stu3(value: Any) -> Resource | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not value.keys() <= CONCEPT:
        raise NotMapped("an element that R4 does not have")
    codings = []
    for one in _boxes(value, "coding"):
        if not one.keys() <= CODING:
            raise NotMapped("an element that R4 does not have")
        coding = {name: text for name in one if (text := _text(one, name)) is not None}
        if "system" in coding:
            coding["system"] = SYSTEMS.get(coding["system"], coding["system"])
        codings.append(coding)
    out: Resource = {"coding": codings} if codings else {}
    _put(out, "text", _text(value, "text"))
    return out or None


# ------------------------------------------------------------------------------------------------------------- JSONata

_JSONATA_CODEABLE = f"""
  $codeable := function($code, $table) {{
    $exists($code) ? ($row := $lookup($lookup($tables, $table), $code);
      {{"coding": [{{"system": $row[0], "code": $row[1], "display": $row[2]}},
                  {{"system": "{OURS}" & $table, "code": $code, "display": $row[3]}}]}})
  }};
"""
JSONATA: Final = {
    "cin-child": "("
    + _JSONATA_CODEABLE
    + """
  $child := $; $patient := {"reference": "Patient/" & $person};
  $append($append([{
    "resourceType": "Observation", "id": $mint("Observation", id), "meta": {"profile": [$uk & "Observation"]},
    "identifier": [{"system": "urn:example:child-id", "value": id}], "status": "final",
    "code": {"coding": [{"system": "urn:example:fact", "code": "sex"}]}, "subject": $patient,
    "effectiveDateTime": born, "valueCodeableConcept": $codeable(sex, "bench-sex")}],
  [referrals[nfa != "1"].{
    "resourceType": "EpisodeOfCare", "id": $mint("EpisodeOfCare", $child.id & "|" & began),
    "meta": {"profile": [$uk & "EpisodeOfCare"]},
    "status": "active", "type": [$codeable(need, "bench-need")], "patient": $patient,
    "period": {"start": began, "end": closed}}]),
  [referrals.plans[$not($exists(end))].{
    "resourceType": "Flag", "id": $mint("Flag", $child.id & "|" & start), "meta": {"profile": [$uk & "Flag"]}, "status": "active",
    "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "safety"}]}],
    "code": $codeable(category, "bench-abuse"), "subject": $patient, "period": {"start": start}}])
)""",
    "contact-row": "("
    + _JSONATA_CODEABLE
    + """
  $row := $; $patient := {"reference": "Patient/" & $person}; $encounter := $mint("Encounter", contact_id);
  $day := $substring(seen_on, 6) & "-" & $substring(seen_on, 3, 2) & "-" & $substring(seen_on, 0, 2);
  $measured := function($name, $code, $display, $unit, $value) {
    $exists($value) ? {"resourceType": "Observation", "id": $mint("Observation", $name & "/" & $row.contact_id),
      "meta": {"profile": [$uk & "Observation"]}, "status": "final",
      "code": {"coding": [{"system": "http://snomed.info/sct", "code": $code, "display": $display}]}, "subject": $patient,
      "encounter": {"reference": "Encounter/" & $encounter}, "effectiveDateTime": $day,
      "valueQuantity": {"value": $number($value), "unit": $unit, "system": "http://unitsofmeasure.org", "code": $unit}}
  };
  [{"resourceType": "Encounter", "id": $encounter, "meta": {"profile": [$uk & "Encounter"]},
    "identifier": [{"system": "urn:example:contact", "value": contact_id}],
    "status": $lookup($lookup($tables, "bench-outcome"), outcome)[1],
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    "type": [$codeable(kind, "bench-kind")], "subject": $patient,
    "participant": [{"individual": {"display": seen_by}}], "period": {"start": $day}},
   $measured("weight", "27113001", "Body weight", "kg", weight_kg),
   $measured("height", "50373000", "Body height", "cm", height_cm)]
)""",
    "allergy-stu3": """(
  $coding := function($from) { {"system": $from.system, "code": $from.code, "display": $from.display} };
  $concept := function($from) { {"coding": [$map($from.coding, $coding)], "text": $from.text} };
  [{"resourceType": "AllergyIntolerance", "id": $mint("AllergyIntolerance", id),
    "meta": {"profile": [$uk & "AllergyIntolerance"]},
    "clinicalStatus": {"coding": [{
      "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": clinicalStatus}]},
    "verificationStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
      "code": verificationStatus}]},
    "type": type, "category": [category], "code": $concept(code), "patient": {"reference": "Patient/" & $person},
    "onsetDateTime": onsetDateTime, "recordedDate": assertedDate, "recorder": {"display": recorder.display},
    "note": [note.{"text": text}],
    "reaction": [reaction.{"manifestation": [$map(manifestation, $concept)], "description": description, "severity": severity}]}]
)""",
}


# ---------------------------------------------------------------------------------------------------------------- FPML


def _fpml_codeable(path: str, table: str) -> Resource:
    """FHIRPath has no tables of its own: they are handed over as rows of the context."""
    row = f"%tables.where(table = '{table}' and code = {path})"
    return {
        "coding": [
            {"system": f"{{{{ {row}.system }}}}", "code": f"{{{{ {row}.target }}}}", "display": f"{{{{ {row}.display }}}}"},
            {"system": OURS + table, "code": f"{{{{ {path} }}}}", "display": f"{{{{ {row}.own }}}}"},
        ]
    }


_PATIENT: Final = {"reference": "Patient/{{ %person }}"}


def _fpml_measured(name: str, code: str, display: str, unit: str, field: str) -> Resource:
    return {
        "{% if " + field + ".exists() %}": {
            "resourceType": "Observation",
            "id": "{{ mint('Observation', '" + name + "/' + contact_id) }}",
            "meta": {"profile": [UK + "Observation"]},
            "status": "final",
            "code": {"coding": [{"system": SNOMED, "code": code, "display": display}]},
            "subject": _PATIENT,
            "encounter": {"reference": "Encounter/{{ mint('Encounter', contact_id) }}"},
            "effectiveDateTime": "{{ seen_on.substring(6) + '-' + seen_on.substring(3, 2) + '-' + seen_on.substring(0, 2) }}",
            "valueQuantity": {"value": "{{ " + field + ".toDecimal() }}", "unit": unit, "system": UCUM, "code": unit},
        }
    }


_MANIFESTATION: Final = {
    "coding": [
        {"{% for c in %m.coding %}": {"system": "{{ %c.system }}", "code": "{{ %c.code }}", "display": "{{ %c.display }}"}}
    ],
    "text": "{{ %m.text }}",
}
FPML: Final[Mapping[str, list[Any]]] = {
    "cin-child": [
        {
            "resourceType": "Observation",
            "id": "{{ mint('Observation', id) }}",
            "meta": {"profile": [UK + "Observation"]},
            "identifier": [{"system": "urn:example:child-id", "value": "{{ id }}"}],
            "status": "final",
            "code": {"coding": [{"system": "urn:example:fact", "code": "sex"}]},
            "subject": _PATIENT,
            "effectiveDateTime": "{{ born }}",
            "valueCodeableConcept": _fpml_codeable("%record.sex", "bench-sex"),
        },
        {
            "{% for r in referrals.where(nfa != '1') %}": {
                "resourceType": "EpisodeOfCare",
                "id": "{{ mint('EpisodeOfCare', %record.id + '|' + %r.began) }}",
                "meta": {"profile": [UK + "EpisodeOfCare"]},
                "status": "active",
                "type": [_fpml_codeable("%r.need", "bench-need")],
                "patient": _PATIENT,
                "period": {"start": "{{ %r.began }}", "end": "{{ %r.closed }}"},
            }
        },
        {
            "{% for p in referrals.plans.where(end.empty()) %}": {
                "resourceType": "Flag",
                "id": "{{ mint('Flag', %record.id + '|' + %p.start) }}",
                "meta": {"profile": [UK + "Flag"]},
                "status": "active",
                "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/flag-category", "code": "safety"}]}],
                "code": _fpml_codeable("%p.category", "bench-abuse"),
                "subject": _PATIENT,
                "period": {"start": "{{ %p.start }}"},
            }
        },
    ],
    "contact-row": [
        {
            "resourceType": "Encounter",
            "id": "{{ mint('Encounter', contact_id) }}",
            "meta": {"profile": [UK + "Encounter"]},
            "identifier": [{"system": "urn:example:contact", "value": "{{ contact_id }}"}],
            "status": "{{ %tables.where(table = 'bench-outcome' and code = %record.outcome).target }}",
            "class": {"system": ACT, "code": "AMB"},
            "type": [_fpml_codeable("%record.kind", "bench-kind")],
            "subject": _PATIENT,
            "participant": [{"individual": {"display": "{{ seen_by }}"}}],
            "period": {
                "start": "{{ seen_on.substring(6) + '-' + seen_on.substring(3, 2) + '-' + seen_on.substring(0, 2) }}",
            },
        },
        _fpml_measured("weight", "27113001", "Body weight", "kg", "weight_kg"),
        _fpml_measured("height", "50373000", "Body height", "cm", "height_cm"),
    ],
    "allergy-stu3": [
        {
            "resourceType": "AllergyIntolerance",
            "id": "{{ mint('AllergyIntolerance', id) }}",
            "meta": {"profile": [UK + "AllergyIntolerance"]},
            "clinicalStatus": {"coding": [{"system": CLINICAL, "code": "{{ clinicalStatus }}"}]},
            "verificationStatus": {"coding": [{"system": VERIFIED, "code": "{{ verificationStatus }}"}]},
            "type": "{{ type }}",
            "category": ["{[ category ]}"],
            "code": {
                "coding": [
                    {
                        "{% for c in code.coding %}": {
                            "system": "{{ %c.system }}",
                            "code": "{{ %c.code }}",
                            "display": "{{ %c.display }}",
                        }
                    }
                ],
                "text": "{{ code.text }}",
            },
            "patient": _PATIENT,
            "onsetDateTime": "{{ onsetDateTime }}",
            "recordedDate": "{{ assertedDate }}",
            "recorder": {"display": "{{ recorder.display }}"},
            "note": [{"{% for n in note %}": {"text": "{{ %n.text }}"}}],
            "reaction": [
                {
                    "{% for r in reaction %}": {
                        "manifestation": [{"{% for m in %r.manifestation %}": _MANIFESTATION}],
                        "description": "{{ %r.description }}",
                        "severity": "{{ %r.severity }}",
                    }
                }
            ],
        }
    ],
}
TABLE_ROWS: Final = [
    {"table": table, "code": code, "system": system, "target": target, "display": display, "own": own}
    for table, rows in TABLES.items()
    for code, (system, target, display, own) in rows.items()
]
