"""Systems: HTTP <-> request and answer (FHIR, OAuth, operations)."""
