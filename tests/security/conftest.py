"""The whole place, for tests that attack it over HTTP."""

from tests.e2e.conftest import _healed, world

__all__ = ["_healed", "world"]
