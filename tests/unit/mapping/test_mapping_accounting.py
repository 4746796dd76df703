"""mapped + ignored + withheld + unmapped = every leaf, whatever the record holds."""

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from gateway.adapter import Claim, SourceRecord
from gateway.mapping import R4_SCHEMA, Context, MapResult, Maps, load, map_record, public_path
from gateway.mapping.accounting_table import Table


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return int(value is not None and not (isinstance(value, str) and not value.strip()))


def total(result: MapResult) -> int:
    assert result.accounting is not None
    counted = result.accounting
    return counted.mapped + counted.ignored + counted.withheld + counted.unmapped_leaves


def test_every_leaf_of_a_record_is_accounted_for(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "signs": [{"name": "rash"}]}], sex="1", nationality="x")
    assert result.accounting is not None
    assert (result.accounting.mapped, result.accounting.ignored, result.accounting.unmapped) == (7, 2, ())


def test_what_when_leaves_out_is_ignored_by_rule(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "closed": True}])
    assert result.accounting is not None
    assert (result.accounting.mapped, result.accounting.ignored, result.accounting.unmapped) == (0, 7, ())


def test_what_a_refused_resource_held_is_withheld_and_neither_mapped_nor_unknown(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "state": "unknown"}])
    assert result.refused
    assert result.accounting is not None
    assert result.accounting.mapped == 0
    assert result.accounting.withheld > 1
    assert result.accounting.unmapped == ()


def test_of_an_r4_resource_what_is_ours_to_say_is_ignored_and_a_refused_one_is_withheld(context: Context):
    maps = load(files("mappings"))
    data = {
        "resourceType": "AllergyIntolerance",
        "id": "a1",
        "text": {"status": "generated", "div": "<div>x</div>"},
        "patient": {"reference": "Patient/p1"},
        "recordedDate": "2026-01-05",
    }
    given = SourceRecord(R4_SCHEMA, data, "entry 1", context.as_of, Claim(nhs_number="9990000107"))
    counted = map_record(maps, "gp", given, context, account=True).accounting
    assert counted is not None
    assert (counted.mapped, counted.ignored, counted.withheld, counted.unmapped_leaves) == (3, 3, 0, 0)
    refused = map_record(maps, "gp", structs.replace(given, data={**data, "odd": "x"}), context, account=True)
    assert refused.refused
    assert refused.accounting is not None
    assert (refused.accounting.withheld, refused.accounting.leaves) == (7, 7)


KNOWN = frozenset({"findings", "state"})


@pytest.mark.parametrize(
    ("names", "named", "shown"),
    [
        (("findings", "state"), False, "findings.state"),
        (("findings", "outcome2"), False, "findings.*"),
        (("findings", "outcome2"), True, "findings.outcome2"),
        (("Team code",), True, "Team code"),
        (("findings", "9990000107"), True, "findings.*"),
        (("findings", "999 000 0107"), True, "findings.*"),
        (("findings", "born 2019-04-03"), True, "findings.*"),
        (("findings", "a=b"), True, "findings.*"),
        (("findings", "9990000107", "state"), False, "findings.*.state"),
        ((), False, "*"),
    ],
)
def test_a_name_that_no_dictionary_knows_may_be_data_and_is_not_shown(names: tuple[str, ...], named: bool, shown: str):
    assert public_path(names, KNOWN, named=named) == shown


def test_an_unknown_extension_is_reported_without_its_url(mapped: Callable[..., MapResult]):
    result = mapped(weights=[{"id": "w", "extension": [{"url": "urn:secret", "valueString": "secret"}]}])
    assert result.accounting is not None
    assert result.accounting.unmapped == ("weights.extension.url", "weights.extension.valueString")


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab 1", max_size=4)
NAMES = st.sampled_from(
    ["id", "allergy", "state", "kind", "seen_on", "signs", "name", "how_bad", "closed", "by", "extension", "url", "odd"]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@given(findings=TREES, weights=TREES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_record_of_any_shape_raises_or_loses_a_leaf(clinic: Maps, context: Context, record: Any, findings: Any, weights: Any):
    data = {"child_id": "c1", "findings": findings, "weights": weights}
    result = map_record(clinic, "clinic", record(**data), context, account=True)
    assert total(result) == leaves(data)
    for refused in result.refused:
        assert "clinic/findings.yaml" in refused.reason or refused.reason.startswith("the key")


class LongWay(Table):
    """Never says anything by names alone."""

    def account(self, data: Any) -> None:
        return None


GOOD = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from(["a", "b"]), "allergy": st.just("NUT"), "state": st.just("open"), "kind": st.just("allergy")},
        optional={
            "seen_on": st.just("2024-03-14"),
            "signs": st.lists(st.just({"name": "rash"}), max_size=2),
            "closed": st.booleans(),
        },
    ),
    min_size=1,
    max_size=3,
)


@given(findings=GOOD | TREES, weights=TREES, sex=SCALARS, extra=st.none() | TREES)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_short_way_of_accounting_counts_what_the_long_way_counts(
    clinic: Maps, context: Context, record: Any, findings: Any, weights: Any, sex: Any, extra: Any
):
    given = record(child_id="c1", findings=findings, weights=weights, sex=sex, **({} if extra is None else {"odd": extra}))
    short = map_record(clinic, "clinic", given, context, account=True).accounting
    long = map_record(replace(clinic, tables={("clinic", given.schema): LongWay([], [])}), "clinic", given, context, account=True)
    assert short == long.accounting


def test_a_plain_record_goes_the_short_way(mapped: Callable[..., MapResult], clinic: Maps, finding: Any):
    (loaded,) = clinic.by_schema["clinic", "clinic-child-1"]
    table = Table([block.plan.block for block in loaded.blocks], [path for path, _ in loaded.plan.source.ignore])
    assert table.account({"child_id": "c1", "findings": [finding], "sex": "1"}) is not None
    assert table.account({"child_id": "c1", "findings": [finding], "sex": "1", "odd": "x"}) is None
