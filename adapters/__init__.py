"""Built-in kinds of source, one folder each. Each imports gateway.adapter and nothing else of the gateway."""
