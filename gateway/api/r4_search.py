"""Names of R4 search parameters of the types that are given here: the closed list of what an answer may call by name.

Whoever reads an answer may be told that `code` was not used. Any other name is the caller's own text and is not repeated.
Source: FHIR R4 searchparameter-registry.html; operation-patient-everything.html for `start`, `end` and `_since`.
"""

NAMES = frozenset(
    (
        *("_id", "_count", "_type", "_since", "_profile", "_security", "_source", "_tag", "start", "end"),
        *("active", "activity-code", "activity-date", "actor", "address", "address-city", "address-country"),
        *("address-postalcode", "address-state", "address-use", "agent", "appointment", "assessed", "asserter", "author"),
        *("authored", "authored-on", "authoredon", "authenticator", "based-on", "birthdate", "bodysite", "business-status"),
        *("care-team", "category", "class", "clinical-status", "code", "code-value-concept", "code-value-date"),
        *("code-value-quantity", "code-value-string", "combo-code", "component-code", "conclusion", "condition", "consentor"),
        *("contenttype", "context", "created", "criticality", "custodian", "data-absent-reason", "date", "death-date"),
        *("deceased", "derived-from", "description", "device", "diagnosis", "effective", "email", "encounter"),
        *("entity", "episode-of-care", "event", "evidence", "evidence-detail", "facility", "family", "focus", "form"),
        *("format", "gender", "general-practitioner", "given", "goal", "group-identifier", "has-member", "identifier"),
        *("incoming-referral", "ingredient", "instantiates-canonical", "instantiates-uri", "intendedperformer"),
        *("intendeddispenser", "intent", "issued", "item", "language", "last-date", "length", "link", "location"),
        *("location-period", "lot-number", "manifestation", "manufacturer", "media", "medication", "method", "modified"),
        *("name", "occurrence", "onset", "onset-age", "onset-date", "onset-info", "organization", "owner"),
        *("part-of", "participant", "participant-type", "performer", "performer-type", "period", "phone", "phonetic"),
        *("practitioner", "priority", "purpose", "questionnaire", "reaction", "reaction-date", "reason-code"),
        *("reason-given", "reason-not-given", "reason-reference", "recipient", "recorded-date", "recorder", "related"),
        *("relation", "relationship", "replaces", "requester", "requisition", "result", "result-code", "role", "route"),
        *("sent", "received", "sender", "series", "service-provider", "setting", "severity", "source", "specimen"),
        *("special-arrangement", "stage", "status", "status-reason", "substance", "supporting-info", "target", "target-disease"),
        *("telecom", "text", "title", "type", "vaccine-code", "value-concept", "value-date", "value-quantity"),
        *("value-string", "verification-status"),
    )
)
