"""Lines that can never do anything, found before they run: conditions that exclude each other, choices behind a constant."""

from collections.abc import Callable, Iterable, Iterator

from gateway.mapping.tree import Bad, Constant, Either, FirstOf, Flow, Path, Step, Test

NEVER = "this line is never reached: its conditions exclude each other"


def check_reach(flow: Flow | None, repeats: Callable[[Path], bool], *conditions: Either | None) -> None:
    """A line's flow and the conditions around it, innermost first. `repeats`: whether a path can find several values.

    Raises `Bad` for what can never do anything.
    """
    options = list(_together([one for one in conditions if one is not None]))
    if options and all(_contradicts(tests, repeats) for tests in options):
        raise Bad(next(one.pos for one in conditions if one is not None), NEVER)
    if flow is None:
        return
    if isinstance(flow.source, FirstOf):
        _check_choices(flow.source)
    if isinstance(flow.source, Path):
        own = _place(flow.source)
        if options and all(any(test.op == "empty" and _place(test.path) == own for test in tests) for tests in options):
            raise Bad(flow.pos, "this line is never reached: it reads what its condition says is absent")


def _check_choices(choice: FirstOf) -> None:
    seen: set[tuple[object, ...]] = set()
    for number, flow in enumerate(choice.flows):
        if isinstance(flow.source, Constant) and number < len(choice.flows) - 1:
            raise Bad(choice.flows[number + 1].pos, "never reached: the constant before it is always present")
        if isinstance(flow.source, Path):
            key = (*_place(flow.source), *((call.name, call.arguments) for call in flow.calls))
            if key in seen:
                raise Bad(flow.pos, "never reached: first() has this choice already")
            seen.add(key)


def _together(conditions: list[Either]) -> Iterator[tuple[Test, ...]]:
    """Every way in which all conditions can hold."""
    if not conditions:
        return
    first, *rest = conditions
    others = list(_together(rest)) or [()]
    for tests in first.options:
        yield from ((*tests, *more) for more in others)


def _contradicts(tests: Iterable[Test], repeats: Callable[[Path], bool]) -> bool:
    by_place: dict[tuple[str, tuple[Step, ...]], list[Test]] = {}
    for test in tests:
        by_place.setdefault(_place(test.path), []).append(test)
    return any(_excluded(found, several=repeats(found[0].path)) for found in by_place.values())


def _excluded(tests: list[Test], *, several: bool) -> bool:
    """Tests of one path that no single value passes. Of a path that repeats, each test may find another value."""
    ops = {test.op for test in tests}
    if "empty" in ops and ("exists" in ops or "in" in ops):
        return True
    wanted = [set(test.values) for test in tests if test.op == "in"]
    unwanted = {value for test in tests if test.op == "not in" for value in test.values}
    if several:
        return len(wanted) == 1 and wanted[0] <= unwanted
    return bool(wanted) and set.intersection(*wanted) <= unwanted


def _place(path: Path) -> tuple[str, tuple[Step, ...]]:
    return path.scope, path.steps
