"""Source paths -> Python expressions; what several lines read through is read once, and what is not there is not looked into."""

from collections import Counter
from dataclasses import replace
from typing import Any

from gateway.mapping import walk
from gateway.mapping.nodes import Place
from gateway.mapping.plan import Condition, Way

_BOXED = frozenset({"one", "many", "ext_one", "ext_many"})  # what asks for fields by name
_ABSENT = {"many": "EMPTY", "ext_many": "EMPTY", "ext_one": "None"}  # what each gives where the field is not there
WALK = {name: getattr(walk, name) for name in vars(walk) if not name.startswith("_") and callable(getattr(walk, name))}
WALK |= {"EMPTY": [], "NOTHING": {}}  # read, never written to


class Ways:
    """The lines of one function as they grow, and what is known where they have got to."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []  # generated line, line of the mapping
        self.names: dict[str, Any] = dict(WALK)
        self.count = 0
        self.shared: Counter[Place] = Counter()  # how many lines of this function read through each place
        self.boxed: set[int] = set()  # levels known to have fields, in `b0` and so on
        self.base = 0  # depth of the statements that no condition guards
        self.held: dict[Place, str] = {}  # places read already, and the variable that has what is there
        self.fields: dict[Place, str] = {}  # of these, the ones known to have fields, and the variable that surely has them

    def row(self, depth: int, text: str, line: int) -> None:
        self.rows.append(("    " * depth + text, line))

    def name(self, stem: str, value: Any = None) -> str:
        """A fresh name; with a value, a constant of the generated module."""
        self.count += 1
        made = f"{stem}{self.count}"
        if value is not None:
            self.names[made] = value
        return made

    def way(self, way: Way, *, inline: bool = False) -> str:
        text, hops = f"i{way.level}", way.hops
        sure = way.level in self.boxed and bool(hops) and hops[0][0] in _BOXED  # it has fields: asked before
        text = f"b{way.level}" if sure else text
        for length in range(len(hops), 0, -1):
            known = self.held.get((way.level, hops[:length]))
            if known is not None:
                text, hops = known, hops[length:]
                sure = bool(hops) and hops[0][0] in _BOXED and (way.level, way.hops[:length]) in self.fields
                text = self.fields[way.level, way.hops[:length]] if sure else text
                break
        for place, (function, argument) in enumerate(hops):
            if inline and sure and place == 0 and function == "one":
                text = f"(one({text}, {argument!r}) if (y := {text}.get({argument!r})).__class__ is list else y)"
            elif inline and function == "one":  # nearly every line does just this, and a call costs more than what it does
                field = f"x.get({argument!r})"
                text = f"(one(x, {argument!r}) if (x := {text}).__class__ is not dict or (y := {field}).__class__ is list else y)"
            elif inline and function in _ABSENT:  # most of what a map looks for is not there
                part = argument if function == "many" else "extension"
                given = repr(argument) if function == "many" else self.name("C", argument)
                look = f"{function}(x, {given})"
                if sure and place == 0:
                    text = f"({function}({text}, {given}) if {part!r} in {text} else {_ABSENT[function]})"
                    continue
                text = f"({look} if (x := {text}).__class__ is not dict or {part!r} in x else {_ABSENT[function]})"
            elif argument is None:
                text = f"{function}({text})"
            elif isinstance(argument, str):
                text = f"{function}({text}, {argument!r})"
            else:
                text = f"{function}({text}, {self.name('C', argument)})"
        return text

    def condition(self, condition: Condition) -> str:
        options = []
        for checks in condition:
            parts = []
            for check in checks:
                said = f"(z := {self.way(check.way, inline=True)}) is not None and "  # what is absent is neither
                if check.op in ("exists", "empty"):
                    parts.append(f"{'not ' * (check.op == 'empty')}({said}present(z))")
                else:
                    parts.append(f"{'not ' * (check.op == 'not in')}({said}among(z, {self.name('C', check.values)}))")
            options.append(" and ".join(parts))
        return "(" + ") or (".join(options) + ")"

    def box(self, way: Way, depth: int, line: int) -> None:
        """Whether an item has fields at all is asked once, by the first of several lines that read them."""
        reads = sum(count for (level, hops), count in self.shared.items() if level == way.level and len(hops) == 1)
        if reads > 1 and way.level not in self.boxed and way.hops and way.hops[0][0] in _BOXED:
            self.row(depth, f"b{way.level} = i{way.level} if i{way.level}.__class__ is dict else box(i{way.level})", line)
            self.boxed.add(way.level)

    def hold(self, way: Way, depth: int, line: int) -> None:
        """What several lines read through is read once, by the first of them, and whether it has fields asked once."""
        for end in range(1, len(way.hops) + 1):
            place = (way.level, way.hops[:end])
            if self.shared[place] > 1 and place not in self.held:
                text = self.way(replace(way, hops=way.hops[:end]), inline=True)
                var = self.name("h")
                self.row(depth, f"{var} = {text}", line)
                self.held[place] = var
            if place in self.held and place not in self.fields and end < len(way.hops) and way.hops[end][0] in _BOXED:
                var, made = self.held[place], self.name("b")
                self.row(depth, f"{made} = {var} if {var}.__class__ is dict else NOTHING if {var} is None else box({var})", line)
                self.fields[place] = made

    def there(self, way: Way) -> tuple[str, str] | None:
        """The last step of a way from what surely has fields: the variable that has them, and the field; else None."""
        if not way.hops or way.hops[-1][0] not in _BOXED:
            return None
        function, argument = way.hops[-1]
        var = self.fields.get((way.level, way.hops[:-1]))
        if len(way.hops) == 1 and way.level in self.boxed:
            var = f"b{way.level}"
        if var is None or (way.level, way.hops) in self.held:
            return None
        return var, argument if function in ("one", "many") else "extension"

    def each(self, way: Way, there: tuple[str, str] | None, depth: int, line: int) -> tuple[str, bool]:
        """What a loop goes over, and whether none of it is absent. `there`: what has the field at its end, and the field."""
        if not way.many:
            return f"({self.way(way, inline=True)},)", False
        if there is None or way.hops[-1][0] != "many":
            return self.way(way, inline=there is None), True
        self.row(depth, f"y = {there[0]}[{there[1]!r}]", line)
        return "y if y.__class__ is list else (y,)", False
