"""What a structured record is made of: the types that have a map, those that only name somebody, and the frame."""

SCHEMAS = {
    "AllergyIntolerance": "gpc-allergyintolerance-stu3",
    "Immunization": "gpc-immunization-stu3",
    "Condition": "gpc-condition-stu3",
    "MedicationRequest": "gpc-medicationrequest-stu3",
    "MedicationStatement": "gpc-medicationstatement-stu3",
    "Medication": "gpc-medication-stu3",
    "DiagnosticReport": "gpc-diagnosticreport-stu3",
    "DocumentReference": "gpc-documentreference-stu3",
    "Encounter": "gpc-encounter-stu3",
    "List": "gpc-list-stu3",
    "Observation": "gpc-observation-stu3",
    "ProcedureRequest": "gpc-procedurerequest-stu3",
    "QuestionnaireResponse": "gpc-questionnaireresponse-stu3",
    "ReferralRequest": "gpc-referralrequest-stu3",
    "Specimen": "gpc-specimen-stu3",
}
R4_TYPES = {"ProcedureRequest": "ServiceRequest", "ReferralRequest": "ServiceRequest"}  # every other keeps its name
OTHERS = frozenset({"HealthcareService", "Location", "Organization", "Practitioner", "PractitionerRole", "RelatedPerson"})
OTHER = "gpc-other-stu3"  # people and places: named where they are referred to, no resources of their own
DEEPEST = 3  # questions below questions that the map of questionnaires has lines for
UNREADABLE = "gpc-unreadable-entry"  # no resource, or of a type not known: no map reads it, so it is refused with its place
FRAME = frozenset({"Patient", "OperationOutcome"})  # read here: whose record, which area is missing
GIVEN = frozenset(SCHEMAS)
KNOWN = GIVEN | FRAME | OTHERS
