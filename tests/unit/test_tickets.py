"""No ticket of the line is made outside its one maker: a walk over the syntax trees of gateway/ and adapters/.

A ticket's class may be named in annotations, in isinstance and in class patterns. Named anywhere else it could be called,
passed or cast to, so that is a fault; so are copies of a ticket and `type: ignore` where a ticket is asked for.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = "gateway.model"
TICKETS = "gateway.model.tickets"  # where they are written; `gateway.model` hands them on
COPIERS = {"replace", "copy", "deepcopy", "__replace__", "_replace"}
MAKER = re.compile(r"Ticket: made by (gateway(?:\.\w+)+) alone")
MADE_DUE = {"AccessRequest": "gateway.caller.mandated"}  # its second maker: what starts from a mandate, not from HTTP


def tickets_of(model: str) -> dict[str, str]:
    """Class name -> the module that alone may make it, as its docstring says."""
    found = {}
    for node in ast.parse(model).body:
        if isinstance(node, ast.ClassDef) and (match := MAKER.search(ast.get_docstring(node) or "")):
            found[node.name] = match[1]
    return found


def carriers_of(model: str, tickets: Iterable[str]) -> set[str]:
    """Names of fields that hold a ticket."""
    wanted = set(tickets)
    return {
        item.target.id
        for node in ast.parse(model).body
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _mentions(item.annotation, wanted)
    } | {"value"}


def _mentions(node: ast.AST | None, names: set[str]) -> bool:
    """Whether an annotation names a ticket, written out or as text."""
    return node is not None and any(
        (isinstance(part, ast.Name) and part.id in names)
        or (isinstance(part, ast.Attribute) and part.attr in names)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str) and names & set(re.findall(r"\w+", part.value)))
        for part in ast.walk(node)
    )


@dataclass
class Known:
    """What the whole code says of tickets."""

    tickets: dict[str, str]
    carriers: set[str]
    returning: set[str] = field(default_factory=set)  # functions that return a ticket
    taking: set[str] = field(default_factory=set)  # functions that take one

    def learn(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if _mentions(node.returns, set(self.tickets)):
                    self.returning.add(node.name)
                if any(_mentions(arg.annotation, set(self.tickets)) for arg in _arguments(node)):
                    self.taking.add(node.name)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def faults(source: str, module: str, known: Known) -> list[str]:
    """Every place in a module that could make, copy or fake a ticket it is not the maker of."""
    own = {name for name, maker in known.tickets.items() if module == maker or module.startswith(maker + ".")}
    own |= {name for name, maker in MADE_DUE.items() if module == maker}
    foreign = set(known.tickets) - own
    tree = ast.parse(source)
    names = {name: name for name in foreign}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in (MODEL, TICKETS):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname and alias.name in foreign}
    allowed = set(_allowed(tree))
    found = []
    for node in ast.walk(tree):
        named = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if named in names and id(node) not in allowed:
            found.append(f"{module}:{node.lineno}: {named} is named where it could be made")
        if isinstance(node, ast.Call):
            found.extend(_call_faults(node, tree, module, known, own, names))
    return found + list(_ignored(source, tree, module, known, set(names)))


def _allowed(tree: ast.AST) -> Iterator[int]:
    """Nodes that stand where a class can only be looked at."""
    for node in ast.walk(tree):
        looked_at: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            looked_at.append(node.annotation)
        if isinstance(node, ast.AnnAssign) and isinstance(node.annotation, ast.Name) and node.annotation.id == "TypeAlias":
            looked_at.append(node.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            looked_at.append(node.returns)
        if isinstance(node, ast.MatchClass):
            looked_at.append(node.cls)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            looked_at.extend(node.args[1:])
        for part in looked_at:
            yield from (id(inside) for inside in ast.walk(part)) if part is not None else ()


def _call_faults(node: ast.Call, tree: ast.AST, module: str, known: Known, own: set[str], names: dict[str, str]) -> Iterator[str]:
    called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
    where = f"{module}:{node.lineno}"
    if called == "cast" and node.args and _mentions(node.args[0], set(names)):
        yield f"{where}: cast to a ticket"
    if called == "__setattr__" and not (node.args and isinstance(node.args[0], ast.Name) and node.args[0].id == "self"):
        yield f"{where}: a frozen value is changed from outside"
    if called in COPIERS:
        subject = node.args[0] if node.args else node.func.value if isinstance(node.func, ast.Attribute) else None
        if subject is not None and _may_be_ticket(subject, node, tree, known, set(names)):
            yield f"{where}: {called} of what may be a ticket"


def _may_be_ticket(subject: ast.expr, call: ast.Call, tree: ast.AST, known: Known, names: set[str]) -> bool:
    """Whether the copied value is a ticket as far as annotations, field names and called functions tell."""
    if isinstance(subject, ast.Await):
        subject = subject.value
    if isinstance(subject, ast.Attribute):
        return subject.attr in known.carriers
    if isinstance(subject, ast.Call):
        called = subject.func
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        return name in known.returning or name in names
    if not isinstance(subject, ast.Name):
        return False
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and any(part is call for part in ast.walk(function)):
            if any(arg.arg == subject.id and _mentions(arg.annotation, names) for arg in _arguments(function)):
                return True
            for part in ast.walk(function):
                if isinstance(part, ast.AnnAssign) and _is(part.target, subject.id) and _mentions(part.annotation, names):
                    return True
                if isinstance(part, ast.Assign) and any(_is(target, subject.id) for target in part.targets):
                    value = part.value
                    if not _is(value, subject.id) and _may_be_ticket(value, call, tree, known, names):
                        return True
    return False


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _ignored(source: str, tree: ast.AST, module: str, known: Known, names: set[str]) -> Iterator[str]:
    """`type: ignore` in a statement that names a ticket, or gives something to a function that asks for one."""
    lines = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and re.search(r"type:\s*ignore", token.string)
    }
    for node in ast.walk(tree) if lines else ():
        if not isinstance(node, ast.stmt) or not hasattr(node, "lineno"):
            continue
        body = getattr(node, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
        header = range(node.lineno, max(last, node.lineno) + 1)
        if not lines & set(header):
            continue
        parts = [part for part in ast.walk(node) if getattr(part, "lineno", node.lineno) in header]
        if any(_mentions(part, names) for part in parts if isinstance(part, ast.Name | ast.Attribute | ast.Constant)) or any(
            isinstance(part, ast.Call)
            and (part.func.id if isinstance(part.func, ast.Name) else getattr(part.func, "attr", "")) in known.taking
            for part in parts
        ):
            yield f"{module}:{node.lineno}: type: ignore where a ticket is asked for"


@cache
def everything() -> dict[str, str]:
    """Module name -> source, of gateway/ and adapters/."""
    found = {}
    for top in ("gateway", "adapters"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


@cache
def known_everything() -> Known:
    """What the code as it stands says of tickets. Shared: nothing may change it."""
    return known_of(everything())


def known_of(modules: dict[str, str]) -> Known:
    tickets = tickets_of(modules[TICKETS])
    known = Known(tickets, carriers_of(modules[TICKETS], tickets))
    for source in modules.values():
        known.learn(ast.parse(source))
    return known


def test_the_model_names_the_one_maker_of_each_ticket():
    tickets = tickets_of((ROOT / "gateway/model/tickets.py").read_text("utf-8"))
    assert tickets == {
        "Caller": "gateway.caller",
        "AccessRequest": "gateway.api.reading",
        "PatientIdentity": "gateway.identity",
        "NotUsable": "gateway.identity",
        "Facts": "gateway.facts",
        "Permit": "gateway.consent",
        "Deny": "gateway.consent",
        "Recorded": "gateway.audit",
        "FetchPlan": "gateway.plan",
        "Disclosure": "gateway.disclosure",
    }


def test_no_ticket_is_made_outside_its_maker():
    modules, known = everything(), known_everything()
    found = [fault for module, source in modules.items() if module != TICKETS for fault in faults(source, module, known)]
    assert found == []


TAKES = "from gateway.model import FetchPlan\ndef fetch(plan: FetchPlan) -> None: ...\n"


@pytest.mark.parametrize(
    "source",
    [
        "from gateway.model import Permit\nx = Permit(1, 2)",
        "from gateway.model import Permit as P\nx = P(1)",
        "import gateway.model as m\nx = m.Permit(1)",
        "import gateway.model\nx = gateway.model.Recorded(1, 2)",
        "from gateway.model import Recorded, Permit\nx = Recorded[Permit](1, 2)",
        "from gateway.model import Permit\nx = Permit.__new__(Permit)",
        "from gateway.model import Permit\nx = list(map(Permit, []))",
        "from gateway.model import Permit\nmake = Permit",
        "from gateway.model import Permit\nclass Mine(Permit): ...",
        "from gateway.model import Permit\ndef f(p: Permit): return type(p) is Permit",
        "from typing import cast\nfrom gateway.model import Permit\nx = cast(Permit, 1)",
        "from typing import cast\nx = cast('Permit', 1)",
        "from dataclasses import replace\nfrom gateway.model import Permit\ndef f(p: Permit): return replace(p, sources=1)",
        "from dataclasses import replace\ndef f(p: 'gateway.model.Permit | None'): return replace(p, sources=1)",
        "from dataclasses import replace\ndef f(r): return replace(r.permit, sources=1)",
        "from dataclasses import replace\ndef f(r):\n    p = r.value\n    return replace(p, sources=1)",
        "from dataclasses import replace\ndef f(r):\n    p: Permit = r\n    return replace(p, sources=1)",
        "from dataclasses import replace\nasync def f(r): return replace(await gather(r), protected=False)",
        "import copy\nfrom gateway.model import Facts\ndef f(p: Facts): return copy.deepcopy(p)",
        "import copy\nfrom gateway.model import Facts\ndef f(p: Facts): return copy.copy(p)",
        "from gateway.model import Facts\ndef f(p: Facts): return p.__replace__(protected=False)",
        "from gateway.model import Facts\ndef f(p: Facts): object.__setattr__(p, 'protected', False)",
        "def f(x): return fetch(x)  # type: ignore[arg-type]",
        "from gateway.model import Permit\ny: Permit = f(1)  # type: ignore",
    ],
)
def test_each_way_of_making_a_ticket_elsewhere_is_found(source):
    known = known_of({TICKETS: everything()[TICKETS], "gateway.fake": TAKES + "async def gather(x) -> Facts: ..."})
    assert faults(source, "gateway.flows.somewhere", known) != []


@pytest.mark.parametrize(
    "source",
    [
        "from gateway.model import Permit, Deny\ndef f(p: Permit | Deny) -> Permit | None: ...",
        "from gateway.model import Permit\ndef f(p): return isinstance(p, Permit)",
        "from gateway.model import Permit\ndef f(p):\n    match p:\n        case Permit(): return 1",
        "from dataclasses import replace\ndef f(r: SourceReport): return replace(r, reason='x')",
        "def f(text): return text.replace('a', 'b')",
        "from typing import TypeAlias\nfrom gateway.model import Permit, Deny\nDecision: TypeAlias = Permit | Deny",
        "import json\nx = json.loads('1')  # type: ignore[no-any-return]",
    ],
)
def test_what_only_looks_at_a_ticket_is_no_fault(source):
    assert faults(source, "gateway.flows.somewhere", known_everything()) == []


def test_the_maker_itself_may_make():
    source = "from gateway.model import Permit\nx = Permit(1)"
    known = known_everything()
    assert faults(source, "gateway.consent", known) == []
    assert faults(source, "gateway.consent_of_another_kind", known) != []
