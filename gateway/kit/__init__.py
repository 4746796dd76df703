"""What adapter and mapping authors run: checks, generators, the R4 index."""
