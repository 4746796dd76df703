"""Pages: each runs the whole line again, together they are the whole, and a link is its caller's alone."""

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from whole_place import World, resources, shape

from sandbox.demo import CENTRE, GP, VISITOR, Asker
from sandbox.families import BY_KEY


def next_link(answer: httpx.Response) -> str | None:
    (url,) = [link["url"] for link in answer.json()["link"] if link["relation"] == "next"] or [None]
    return url


def first_page(world: World, asker: Asker, key: str, count: int) -> httpx.Response:
    (patient,) = resources(world.find(asker, BY_KEY[key].nhs_number), "Patient")
    return world.get(asker, f"/fhir/Patient/{patient['id']}/$everything?_count={count}")


def follow(world: World, asker: Asker, page: httpx.Response) -> list[httpx.Response]:
    pages = [page]
    while (url := next_link(pages[-1])) is not None:
        pages.append(world.get(asker, url))
        assert pages[-1].status_code == 200
        assert len(pages) < 400  # else it goes in a circle
    return pages


@pytest.mark.parametrize("count", [1, 7])
def test_pages_together_are_the_whole_without_a_gap_or_a_repeat(count: int, world: World) -> None:
    whole = [resource["id"] for resource in resources(world.everything(GP, "amara"))]
    pages = follow(world, GP, first_page(world, GP, "amara", count))
    assert all(len(resources(page)) <= count for page in pages)
    assert [resource["id"] for page in pages for resource in resources(page)] == whole
    assert len(pages) == -(-len(whole) // count)


def test_no_page_says_how_many_there_are(world: World) -> None:
    for page in follow(world, GP, first_page(world, GP, "ben", 4)):
        assert "total" not in page.json()


def test_a_next_link_holds_nothing_but_a_sealed_cursor(world: World) -> None:
    page = first_page(world, GP, "amara", 3)
    parts = urlsplit(next_link(page))
    assert (parts.path, list(parse_qs(parts.query))) == ("/fhir", ["_cursor"])
    person = resources(page, "Patient")[0]["id"]
    assert person not in parts.query
    assert next_link(first_page(world, GP, "amara", 3)) != next_link(page)


def test_a_cursor_of_another_caller_is_refused(world: World) -> None:
    url = next_link(first_page(world, GP, "amara", 3))
    for other in (VISITOR, CENTRE):
        refused = world.get(other, url)
        assert refused.status_code == 400
        assert refused.json()["resourceType"] == "OperationOutcome"
    assert world.get(GP, url).status_code == 200


def test_an_altered_cursor_is_refused(world: World) -> None:
    url = next_link(first_page(world, GP, "amara", 3))
    middle = len(url) - 20
    other = "A" if url[middle] != "A" else "B"
    for altered in (url[:middle] + other + url[middle + 1 :], url[:-9], url + "A", url.partition("=")[0] + "="):
        assert world.get(GP, altered).status_code == 400


def test_a_further_page_runs_the_line_again_and_leaves_its_own_two_events(world: World) -> None:
    page = first_page(world, VISITOR, "grace", 3)
    second = world.get(VISITOR, next_link(page))
    assert [event["kind"] for event in world.of_request(second)] == ["decision", "disclosure"]
    assert second.headers["gateway-receipt"] != page.headers["gateway-receipt"]


def test_a_consent_withdrawn_between_two_pages_leaves_the_second_empty(world: World) -> None:
    page = first_page(world, CENTRE, "grace", 1)
    url = next_link(page)
    assert resources(page)
    world.withdraw("share-centres", BY_KEY["grace"].nhs_number)
    second = world.get(CENTRE, url)
    assert second.status_code == 200
    assert resources(second) == []
    assert next_link(second) is None
    assert shape(second)[2] == shape(world.get(CENTRE, f"/fhir/Patient/{'a' * 26}/$everything?_count=1"))[2]
