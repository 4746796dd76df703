"""Data only: who may see what, and why."""
