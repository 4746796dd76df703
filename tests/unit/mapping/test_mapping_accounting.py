"""mapped + ignored + unmapped = every leaf, whatever the record holds."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.mapping import Context, MapResult, Maps, map_record


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(map(leaves, value))
    return int(value is not None and not (isinstance(value, str) and not value.strip()))


def total(result: MapResult) -> int:
    assert result.accounting is not None
    return result.accounting.mapped + result.accounting.ignored + result.accounting.unmapped_leaves


def test_every_leaf_of_a_record_is_accounted_for(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "signs": [{"name": "rash"}]}], sex="1", nationality="x")
    assert result.accounting is not None
    assert (result.accounting.mapped, result.accounting.ignored, result.accounting.unmapped) == (7, 2, ())


def test_what_when_leaves_out_is_ignored_by_rule(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "closed": True}])
    assert result.accounting is not None
    assert (result.accounting.mapped, result.accounting.ignored, result.accounting.unmapped) == (0, 7, ())


def test_what_a_refused_resource_held_is_not_called_mapped(mapped: Callable[..., MapResult], finding: Any):
    result = mapped(findings=[{**finding, "state": "unknown"}])
    assert result.accounting is not None
    assert result.accounting.mapped == 0
    assert "findings.state" in result.accounting.unmapped


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
