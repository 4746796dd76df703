"""Data only: how each source's fields become FHIR and back."""
