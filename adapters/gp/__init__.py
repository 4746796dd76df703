"""Built-in adapter: the GP record through GP Connect Access Record: Structured (STU3)."""

from adapters.gp.adapter import build, read_file

__all__ = ["build", "read_file"]
