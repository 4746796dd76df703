"""The shared care gateway: one NHS number in, one lawful, audited, UK Core answer out."""
