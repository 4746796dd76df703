"""Ports that are other people's systems: the tracer and the directory, over one small HTTP client."""
