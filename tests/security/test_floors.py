"""Libraries with known holes below a version: what is installed must not be older. Each floor is a published advisory."""

from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.version import Version

FLOORS = {
    "Authlib": "1.7.2",  # CVE-2026-27962, CVE-2026-28802, CVE-2026-44681 and six before
    "joserfc": "1.6.8",  # CVE-2026-49852, GHSA-wphv-vfrh-23q5
    "starlette": "1.3.1",  # CVE-2026-48710, CVE-2026-54282, CVE-2026-54283
    "h11": "0.16.0",  # CVE-2025-43859
    "uvicorn": "0.11.7",  # CVE-2020-7694, CVE-2020-7695
    "lxml": "6.1.0",  # CVE-2026-41066
    "httpx": "0.28.0",  # CVE-2021-41945
}
NEVER = ("python-jose", "PyJWT")  # one JOSE library only; CVE-2024-33663, CVE-2026-32597


@pytest.mark.parametrize(("package", "floor"), FLOORS.items())
def test_no_library_is_older_than_its_last_known_hole(package: str, floor: str) -> None:
    assert Version(version(package)) >= Version(floor)


def test_forms_are_not_parsed_by_an_old_multipart() -> None:
    try:
        found = version("python-multipart")
    except PackageNotFoundError:
        return  # not installed: forms are read by gateway.api.form alone
    assert Version(found) >= Version("0.0.32")


@pytest.mark.parametrize("package", NEVER)
def test_there_is_no_second_jose_library(package: str) -> None:
    with pytest.raises(PackageNotFoundError):
        version(package)
