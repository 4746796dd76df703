"""What comes back for one page of a large answer gives the same page, and the same counts, as all of it."""

import pickle
import random
from itertools import pairwise

import msgspec
import pytest
from policy_world import identity, policy, recorded
from test_disclosure import ANSWERED, allergy, jab, permit

from gateway.disclosure import Page, Ready, disclose, readied
from gateway.flows.one_page import TWICE, OnePage, hashes, narrowed
from gateway.mapping import remade
from gateway.model import CareClass, Mark

NOPAT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
SORTS = (
    lambda name: allergy(name),
    lambda name: allergy(name, elements={"note": [{"text": "said at length, " * 40}]}),
    lambda name: allergy(name, locked=True),
    lambda name: allergy(name, paths={Mark.THIRD_PARTY: (("*",),)}),
    lambda name: allergy(name, elements={"meta": {"security": [NOPAT]}}),
    lambda name: msgspec.structs.replace(allergy(name), category="odd"),
    lambda name: msgspec.structs.replace(allergy(name), care_class=CareClass.SPECIAL),
    lambda name: jab(name),
)


def made_of(item, under):
    rest = (item.category, item.care_class, item.where, item.as_of, item.mapping, item.locked, item.not_early_years, ())
    return readied(item, under.strip), rest


def whole(made):
    return [remade(Ready(*ready), "gp", *rest) for ready, rest in made]


def by_page(parts, page):
    """As the two processes do: part by part, each told what is known by then -> the resources, and how many came."""
    here, came = OnePage(page, "gp"), 0
    for part in parts:
        there, asked = pickle.loads(pickle.dumps((part, here.asked())))
        kept, others = narrowed(there, asked)
        came += len(kept)
        assert here.take(kept, others, hashes(there)) == []
    return here.resources(), came


def seen(made):
    assert not any(isinstance(out.body, Ready) and out.body.times for out in made.resources)
    each = [(out.encoded, out.category, out.care_class, out.rules, out.stripped) for out in made.resources]
    return each, made.next_key, made.withheld, made.withheld_known, made.reports


@pytest.mark.parametrize("seed", range(12))
def test_every_page_of_a_large_answer_is_the_same_whatever_was_left_in_the_other_process(seed):
    dice = random.Random(seed)
    under = permit(protected=seed % 3 == 0)
    made = [made_of(dice.choice(SORTS)(f"n{number:03}"), under) for number in dice.sample(range(900), 120)]
    cuts = [0, *sorted(dice.sample(range(1, 119), dice.choice((0, 1, 4, 9)))), 120]
    parts = [sorted(made[a:b], key=lambda one: one[0][:2]) for a, b in pairwise(cuts)]
    after, pages = None, 0
    while pages == 0 or after is not None:
        page = Page(dice.choice((3, 7, 30, 500)), dice.choice((200, 900, 5_000, 1_000_000)), after)
        resources, _ = by_page(parts, page)
        all_of_it, one_page = (
            disclose(found, ANSWERED, [], recorded(under), identity(), policy(), page=page) for found in (whole(made), resources)
        )
        assert seen(one_page) == seen(all_of_it)
        after, pages = one_page.next_key, pages + 1


def test_what_lies_behind_the_page_does_not_come_and_the_longer_the_answer_the_less_of_it():
    under = permit()
    made = [made_of(allergy(f"n{number:04}"), under) for number in random.Random(4).sample(range(1_000), 1_000)]
    parts = [sorted(made[start : start + 100], key=lambda one: one[0][:2]) for start in range(0, 1_000, 100)]
    resources, came = by_page(parts, Page(10, 1_000_000))
    assert came < 60
    assert len(resources) == 12  # a page, one more, and one for all the others
    assert resources[-1].body.times == 1_000 - 11


def test_two_of_one_id_in_different_parts_are_heard_of_though_neither_is_on_the_page():
    under = permit()
    made = [made_of(allergy(f"n{number}"), under) for number in range(8)]
    here = OnePage(Page(1, 1_000_000), "gp")
    assert here.take(*narrowed(made, here.asked()), hashes(made)) == []
    again = here.take(*narrowed(made[-1:], here.asked()), hashes(made[-1:]))
    assert [(one.source, one.reason) for one in again] == [("gp", TWICE)]


def test_a_first_one_larger_than_a_page_goes_by_itself_and_the_page_after_it_is_known():
    under = permit()
    made = [made_of(SORTS[1](f"n{number}"), under) for number in range(3)]
    found = disclose(by_page([made], Page(5, 10))[0], ANSWERED, [], recorded(under), identity(), policy(), page=Page(5, 10))
    assert len(found.resources) == 1
    assert found.next_key is not None
