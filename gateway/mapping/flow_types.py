"""Static types of a map's lines: what a flow gives, what an element takes, and what to say where they differ."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from gateway.mapping.arguments import check_arguments
from gateway.mapping.codes import CodeMap
from gateway.mapping.functions import SHARED, Function
from gateway.mapping.plan import Check, Condition, Guard, Hop, Stream, Use, Way
from gateway.mapping.r4 import NUMBERS, PRIMITIVE_NAMES, PRIMITIVES, Element, Index, suggestion
from gateway.mapping.source import CLASS_ORDER, Found, Key, Walks
from gateway.mapping.tree import (
    Bad,
    Call,
    Constant,
    Either,
    FirstOf,
    FirstStep,
    Flow,
    FromContext,
    Name,
    OwnRef,
    Path,
    Pos,
    Where,
)
from gateway.model import CareClass, Mark

STRINGS: Final = frozenset({"string", "markdown", "code", "id", "uri", "url", "canonical", "oid", "uuid", "xhtml"})
URIS: Final = frozenset({"uri", "url", "canonical", "oid", "uuid"})
WHOLE: Final = frozenset({"integer", "positiveInt", "unsignedInt"})
QUANTITIES: Final = frozenset({"Quantity", "Age", "Duration", "Count", "Distance"})
PARTS: Final = {  # where the parts of a constant are written, since no constant is the whole
    "Coding": ("system", "code"),
    "CodeableConcept": ("coding[0].system", "coding[0].code"),
    "Identifier": ("system", "value"),
    "Quantity": ("value", "unit", "system", "code"),
    "Period": ("start", "end"),
    "Reference": ("display",),
}
IMPLIED: Final = {  # the function a bare field goes through
    "string": "text",
    "markdown": "text",
    "id": "text",
    **dict.fromkeys(URIS, "text"),
    "code": "code",
    **dict.fromkeys(WHOLE, "integer"),
    **{name: name for name in ("date", "dateTime", "instant", "decimal", "boolean")},
    "time": "text",
}
CONTEXT: Final = {"source": "string", "person": "string", "nhs_number": "nhsNumber", "custodian": "string", "as_of": "dateTime"}


class Scope:
    """Where paths of a line start, what has been read, and where faults go."""

    shared: ClassVar[Mapping[str, Function]] = SHARED
    context: ClassVar[Mapping[str, str]] = CONTEXT

    def __init__(
        self,
        schema: Walks,
        index: Index,
        codes: Mapping[str, CodeMap],
        functions: Mapping[str, Function],
        labels: frozenset[str],
        own: frozenset[str],
        bases: tuple[Key, ...] = ((),),
    ) -> None:
        self.schema = schema
        self.index = index
        self.codes = codes
        self.functions = {**self.shared, **functions}
        self.labels = labels  # of every block of the adapter
        self.own = own  # of the blocks that make one resource of this same record
        self.bases = bases
        self.seen: set[Key] = set()

    def inside(self, found: Found) -> Self:
        """The scope of an `each`: paths start at its items."""
        inner = type(self)(self.schema, self.index, self.codes, {}, self.labels, self.own, (*self.bases, found.key))
        inner.functions = self.functions
        return inner

    def way(self, path: Path, *, reads: bool = True) -> tuple[Way, Found]:
        """A path -> the hops that walk it. `reads`: count it as read. Raises `Bad`."""
        top = len(self.bases) - 1
        level = {"record": 0, "outer": max(top - 1, 0), "item": top}[path.scope]
        found, steps = self.schema.walk(self.bases[level], path, self.index)
        if reads:
            self.seen.add(found.key)
        hops: list[Hop] = []
        many = False
        for step, repeats, key in steps:
            if isinstance(step, FirstStep):
                hops.append(("head", None))
                many = False
                continue
            if isinstance(step, Where):
                hops.append(("where", step.tests))
                self.seen.update((*key, name) for name, _ in step.tests if reads)
            elif isinstance(step, Name):
                hops.append((("each_" if many else "") + ("many" if repeats else "one"), step.name))
            else:
                hops.append(("each_ext" if many else "ext_many" if repeats else "ext_one", frozenset(step.urls)))
            many = many or repeats
        return Way(level, tuple(hops), many, found.type), found

    def condition(self, when: Either | None) -> Condition | None:
        """A `when` -> its checks. Raises `Bad`."""
        if when is None:
            return None
        options = []
        for tests in when.options:
            checks = []
            for test in tests:
                way, _ = self.way(test.path)
                if test.op not in ("exists", "empty", "in", "not in"):
                    raise Bad(test.path.pos, "a condition is exists(), empty(), =, != or in")
                if test.values and way.type not in PRIMITIVE_NAMES:
                    raise Bad(test.path.pos, f"only a simple field can be compared, this is {way.type}")
                checks.append(Check(way, test.op, test.values))
            options.append(tuple(checks))
        return tuple(options)

    def stream(self, flow: Flow, element: Element) -> Stream:
        """A flow -> what it gives, checked against the element it is for. Raises `Bad`."""
        source = flow.source
        if isinstance(source, Constant):
            return Stream(_constant_type(source.value, element, flow.pos), False, constant=source.value, is_constant=True)
        if isinstance(source, OwnRef):
            if source.block != "Patient" and source.block not in self.own:
                near = suggestion(source.block, self.own)
                raise Bad(source.pos, f"no map of this record has a block '{source.block}' without each{near}")
            self._leads(element, source.block, source.pos)
            return Stream("Reference", False, own=source.block)
        if isinstance(source, FirstOf):
            options = tuple(self.stream(option, element) if not flow.calls else self._plain(option) for option in source.flows)
            if any(option.many for option in options):
                raise Bad(source.pos, "first(a, b) takes single values: say first() on the one that repeats")
            if not flow.calls:
                return Stream(options[0].type, False, options=options)
            type_, uses = self._calls(flow.calls, options[0].type, element, bare=True)
            self._fits(type_, element, flow.pos)
            return Stream(type_, False, uses, options=options)
        plain = self._plain(Flow(source, (), flow.pos))
        if flow.calls:
            type_, uses = self._calls(flow.calls, plain.type, element, bare=isinstance(source, Path))
            self._fits(type_, element, flow.pos)
        else:
            type_, uses = self._bare(plain.type, element, flow.pos)
        return Stream(type_, plain.many, uses, way=plain.way, context=plain.context)

    def _plain(self, flow: Flow) -> Stream:
        if flow.calls or isinstance(flow.source, Constant | OwnRef | FirstOf):
            raise Bad(flow.pos, "functions after first(a, b) take plain fields inside it")
        if isinstance(flow.source, FromContext):
            if flow.source.name not in self.context:
                raise Bad(flow.pos, f"%ctx has no '{flow.source.name}'{suggestion(flow.source.name, self.context)}")
            return Stream(self.context[flow.source.name], False, context=flow.source.name)
        way, _ = self.way(flow.source)
        return Stream(way.type, way.many, way=way)

    def _calls(self, calls: tuple[Call, ...], type_: str, element: Element, *, bare: bool) -> tuple[str, tuple[Use, ...]]:
        uses: list[Use] = []
        for call in calls:
            function = self.functions.get(call.name)
            if function is None:
                raise Bad(call.pos, f"no function '{call.name}'{suggestion(call.name, self.functions)}")
            if call.name == "quantity" and type_ == "Quantity" and not call.arguments:
                function = self.shared["quantitySTU3"]
            constants = self._constants(call, function, type_, element)
            typed = bare and type_ in IMPLIED and function.takes not in ("Primitive", "Anything")
            if typed and _accepts(function.takes, type_):
                uses.append(Use(SHARED[IMPLIED[type_]], ()))
            if not _accepts(function.takes, type_):
                wanted = "a simple field" if function.takes == "Primitive" else function.takes
                raise Bad(call.pos, f"{call.name} takes {wanted}, this is {type_}: give it that, or use another function")
            uses.append(Use(function, constants))
            type_ = type_ if function.gives == "Anything" else function.gives
            bare = False
        return type_, tuple(uses)

    def _constants(self, call: Call, function: Function, type_: str, element: Element) -> tuple[Any, ...]:
        if call.name == "reference":
            made = {label.partition("#")[0] for label in self.labels} | {"Patient"}
            for name in call.arguments:
                if not self.index.is_resource(str(name)):
                    raise Bad(call.pos, f"R4 has no resource '{name}'")
                self._leads(element, str(name), call.pos)
            targets = frozenset(map(str, call.arguments)) or frozenset(made)
            return (targets & element.targets if element.targets else targets,)
        if call.name == "copy":
            if type_ in PRIMITIVE_NAMES or type_ in ("object", "Reference"):
                hint = "use | reference" if type_ == "Reference" else "leave copy out" if type_ != "object" else "name its parts"
                raise Bad(call.pos, f"copy takes a whole element, this is {type_} ({hint})")
            return (type_,)
        check_arguments(call, function)
        if call.name == "ref":
            block = str(call.arguments[0])
            if block not in self.labels:
                raise Bad(call.pos, f"no map of this adapter has a block '{block}'{suggestion(block, self.labels)}")
            self._leads(element, block, call.pos)
        if call.name in ("translate", "codeable", "coding") and ":" not in str(call.arguments[0]):
            self._code_map(str(call.arguments[0]), call, element)
        return call.arguments

    def _code_map(self, name: str, call: Call, element: Element) -> None:
        codes = self.codes.get(name)
        if codes is None:
            raise Bad(call.pos, f"no code map '{name}'{suggestion(name, self.codes)}")
        if element.codes is None:
            return
        allowed = frozenset().union(*element.codes.values())
        for row in codes.rows.values():
            inside = row.code in allowed if call.name == "translate" else row.code in element.codes.get(row.system, ())
            if row.code and not inside:
                message = f"{codes.file}:{row.line} gives a code outside the required codes of {element.name}"
                raise Bad(call.pos, f"{message}: {_listed(allowed)}{suggestion(row.code, allowed)}")

    def _leads(self, element: Element, block: str, pos: Pos) -> None:
        type_ = block.partition("#")[0]
        if element.targets and type_ not in element.targets:
            raise Bad(pos, f"{element.name} cannot lead to {type_}: only to {', '.join(sorted(element.targets))}")

    def _bare(self, type_: str, element: Element, pos: Pos) -> tuple[str, tuple[Use, ...]]:
        if type_ not in PRIMITIVE_NAMES:
            hint = "use | reference" if type_ == "Reference" else "add | copy" if type_ == element.type else "name its parts"
            raise Bad(pos, f"{element.name} is {element.type}, this line gives {type_} ({hint})")
        if _assignable(type_, element.type) and not (element.codes and type_ == "code"):
            return (type_, (Use(SHARED[IMPLIED[type_]], ()),))
        hint = "translate('…')" if element.type == "code" else IMPLIED.get(element.type, "a function")
        raise Bad(pos, f"{element.name} is {element.type}, this line gives {type_} (add | {hint})")

    def _fits(self, type_: str, element: Element, pos: Pos) -> None:
        if not _assignable(type_, element.type):
            other = f"read a {element.type}, or use a function that gives one"
            hint = "add | translate('…')" if element.type == "code" else other
            raise Bad(pos, f"{element.name} is {element.type}, this line gives {type_} ({hint})")


def guards(stream: Stream, element: Element) -> tuple[Guard, ...]:
    """What can be known at run time only of a line's value."""
    if stream.is_constant or stream.own:
        return ()
    found: list[Guard] = []
    if element.codes is not None:
        if element.type == "code":
            found.append(Guard("bound", frozenset().union(*element.codes.values())))
        elif element.type in ("CodeableConcept", "Coding"):
            found.append(Guard("bound_concept", element.codes))
    if element.type == "positiveInt":
        found.append(Guard("positive", 1))
    if element.type == "unsignedInt":
        found.append(Guard("positive", 0))
    if element.type in URIS:
        found.append(Guard("spaceless", None))
    return tuple(found)


def labels(schema: Walks, keys: set[Key]) -> tuple[CareClass | None, frozenset[Mark]]:
    """Fields read -> the most restricted class and every mark, those of the objects around them included."""
    classes: set[CareClass] = set()
    marks: set[Mark] = set()
    for key in keys:
        parts = [schema.fields[key[:end]] for end in range(1, len(key) + 1) if key[:end] in schema.fields]
        for field in parts:
            marks |= field.marks
        own = [field.care_class for field in parts if field.care_class is not None]
        classes.update(own)
        if not own:  # an object read whole: everything in it
            below = [field for known, field in schema.fields.items() if known[: len(key)] == key]
            classes.update(field.care_class for field in below if field.care_class is not None)
            marks.update(mark for field in below for mark in field.marks)
    return (max(classes, key=lambda word: CLASS_ORDER[word]) if classes else None), frozenset(marks)


def _accepts(takes: str, type_: str) -> bool:
    if takes == "Anything":
        return True
    if takes == "Primitive":
        return type_ in PRIMITIVE_NAMES or type_ == "nhsNumber"
    return _assignable(type_, takes)


def _assignable(type_: str, wanted: str) -> bool:
    if type_ == wanted:
        return True
    if wanted in ("string", "markdown") or wanted in URIS or wanted == "id":
        return type_ in STRINGS
    if wanted == "dateTime":
        return type_ in ("date", "instant")
    if wanted in WHOLE:
        return type_ in WHOLE
    if wanted == "decimal":
        return type_ in NUMBERS
    return wanted in QUANTITIES and type_ in QUANTITIES


def _constant_type(value: Any, element: Element, pos: Pos) -> str:
    type_ = element.type
    if isinstance(value, bool):
        good = type_ == "boolean"
    elif isinstance(value, int):
        good = type_ in NUMBERS
    elif isinstance(value, float):
        good = type_ == "decimal"
    else:
        pattern = PRIMITIVES.get(type_)
        good = pattern is not None and pattern.fullmatch(value) is not None
    if not good and not element.primitive and isinstance(value, str) and type_ in PARTS:
        parts = " and ".join(f"{element.name}.{part}" for part in PARTS[type_])
        raise Bad(pos, f"{element.name} is {type_}, a constant is text: write {parts}, or read a field")
    if not good:
        raise Bad(pos, f"{element.name} is {type_}, this constant is not: write one that is, or read a field")
    if element.codes is not None:
        allowed = frozenset().union(*element.codes.values())
        if value not in allowed:
            raise Bad(pos, f"{element.name} takes only: {_listed(allowed)}{suggestion(str(value), allowed)}")
    return type_


def _listed(codes: frozenset[str]) -> str:
    return ", ".join(sorted(codes)[:12]) + (" ..." if len(codes) > 12 else "")
