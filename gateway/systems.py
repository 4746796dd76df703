"""The URIs this project speaks: identifier systems, code systems, profiles, extensions. One name each."""

ODS_CODE = "https://fhir.nhs.uk/Id/ods-organization-code"
GSS_CODE = "https://fhir.nhs.uk/Id/gss-code"
SDS_USER_ID = "https://fhir.nhs.uk/Id/sds-user-id"
SDS_ROLE_PROFILE_ID = "https://fhir.nhs.uk/Id/sds-role-profile-id"
SDS_JOB_ROLE = "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName"

SNOMED = "http://snomed.info/sct"
V3_ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
V3_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SPINE_ERROR = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode"
UK_CORE = "https://fhir.hl7.org.uk/StructureDefinition/"

# Our own names. `urn:` because the project owns no web domain; a place may publish them under its own (docs/adr/0004).
OURS = "urn:shared-care-gateway:"
STAFF_OF = OURS + "staff-of:"  # and an organisation: its register of its own people
LOCAL_ROLE = OURS + "CodeSystem:role"
LOCAL_PURPOSE = OURS + "CodeSystem:purpose"
SOURCE = OURS + "CodeSystem:source"
SOURCE_STATE = OURS + "CodeSystem:source-state"
CARE_CLASS = OURS + "CodeSystem:care-class"
MARK = OURS + "CodeSystem:mark"
PROGRAMME_STATE = OURS + "CodeSystem:programme-state"
RECEIPT = OURS + "receipt"
DELIVERY = OURS + "delivery"  # keys of what was delivered
AS_SENT = OURS + "StructureDefinition:as-sent"  # what was sent of a value that is given in another unit
RECALL_REASON = OURS + "CodeSystem:recall-reason"
