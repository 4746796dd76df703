"""A source of the benchmark that speaks R4."""
