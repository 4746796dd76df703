"""A mapping file's YAML nodes -> `MapFile`, gathering every fault rather than stopping at the first."""

import yaml

from gateway.mapping.grammar import BLOCK, OUTWARD_TOP, TOP, at, compose, read_flow, read_path, read_target, read_when
from gateway.mapping.r4 import suggestion
from gateway.mapping.tree import Bad, Block, Either, Fault, Group, Line, MapFile, Part, Path, Pos, Taken

NUMBERS = ("one", "optional", "many")


class MapReader:
    """Reads one file; `faults` holds what is wrong with it."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.text = text
        self.faults: list[Fault] = []

    def read(self) -> MapFile:
        """The file -> its tree, as far as it can be read. Raises `MappingFaults` when it is not YAML."""
        root = compose(self.text, self.file)
        if any(isinstance(key, yaml.ScalarNode) and key.value == "writes" for key, _ in root.value):
            return self.outward(root)
        top = self.names(root, TOP, "a mapping file")
        for name in ("map", "version", "reads", "because", "resources"):
            if name not in top:
                self.fault(at(root), f"'{name}:' is missing")
        blocks: list[Block] = []
        if "resources" in top:
            for key, value in self.pairs(top["resources"], "resources"):
                block = self.block(key, value)
                if block is not None:
                    blocks.append(block)
        texts = {name: self.scalar(top[name]) for name in ("map", "version", "reads", "because") if name in top}
        return MapFile(
            self.file,
            texts.get("map", ""),
            texts.get("version", ""),
            texts.get("reads", ""),
            texts.get("because", ""),
            tuple(blocks),
            self.reasons(top.get("ignore"), "ignore", "an ignored field needs its reason"),
            self.undecided(top.get("undecided")),
            {name: at(node) for name, node in top.items()},
        )

    def outward(self, root: yaml.Node) -> MapFile:
        """A file that `writes` a schema -> its tree: its lines are one block, which makes the source's record."""
        top = self.names(root, OUTWARD_TOP, "an outward mapping file")
        for name in ("map", "version", "writes", "because", "takes", "set"):
            if name not in top:
                self.fault(at(root), f"'{name}:' is missing")
        takes: list[Taken] = []
        for key, value in self.pairs(top["takes"], "takes") if "takes" in top else ():
            number = self.scalar(value)
            if number not in NUMBERS:
                self.fault(at(value), f"takes says one, optional or many of a type{suggestion(number, NUMBERS)}")
            takes.append(Taken(key.value, number, at(key)))
        texts = {name: self.scalar(top[name]) for name in ("map", "version", "writes", "because") if name in top}
        lines = self.lines(top["set"]) if "set" in top else ()
        place = at(top["set"]) if "set" in top else at(root)
        block = Block(texts.get("writes", ""), "", "", (), None, None, "", lines, place)
        return MapFile(
            self.file,
            texts.get("map", ""),
            texts.get("version", ""),
            "",
            texts.get("because", ""),
            (block,),
            self.reasons(top.get("ignore"), "ignore", "an ignored element needs its reason"),
            self.undecided(top.get("undecided")),
            {name: at(node) for name, node in top.items()},
            texts.get("writes", ""),
            tuple(takes),
            self.reasons(top.get("withhold"), "withhold", "a withheld element needs its reason"),
        )

    def reasons(self, node: yaml.Node | None, what: str, missing: str) -> tuple[tuple[Path, str], ...]:
        """Paths with the reason for each."""
        found: list[tuple[Path, str]] = []
        for key, value in self.pairs(node, what) if node is not None else ():
            path = self.path(key)
            if path is not None:
                found.append((path, self.scalar(value)))
                if not self.scalar(value):
                    self.fault(at(key), missing)
        return tuple(found)

    def undecided(self, node: yaml.Node | None) -> tuple[str, ...]:
        """What nobody has decided about yet."""
        return tuple(self.scalar(one) for one in node.value) if isinstance(node, yaml.SequenceNode) else ()

    def fault(self, pos: Pos, message: str) -> None:
        """Remember one fault."""
        self.faults.append(Fault(self.file, pos.line, pos.column, message))

    def pairs(self, node: yaml.Node, what: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """A mapping node's keys and values; a key twice is a fault."""
        if isinstance(node, yaml.ScalarNode) and not node.value:
            return []
        if not isinstance(node, yaml.MappingNode):
            self.fault(at(node), f"{what}: expected names with values")
            return []
        found: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fault(at(key), "a name is a text")
            elif key.value in seen and "[+]" not in key.value:
                self.fault(at(key), "this name stands here twice: keep one")
            else:
                seen.add(key.value)
                found.append((key, value))
        return found

    def names(self, node: yaml.Node, allowed: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        """A mapping node with known names only."""
        found: dict[str, yaml.Node] = {}
        for key, value in self.pairs(node, what):
            if key.value in allowed:
                found[key.value] = value
            else:
                self.fault(at(key), f"{what} has no '{key.value}'{suggestion(key.value, allowed)}")
        return found

    def scalar(self, node: yaml.Node) -> str:
        """A text node's text."""
        if isinstance(node, yaml.ScalarNode):
            return str(node.value).strip()
        self.fault(at(node), "expected a text")
        return ""

    def path(self, node: yaml.Node) -> Path | None:
        """A source path; None after a fault."""
        try:
            return read_path(self.raw(node), at(node))
        except Bad as bad:
            self.fault(bad.pos, bad.message)
            return None

    def when(self, node: yaml.Node | None) -> Either | None:
        """A condition; None when there is none, or after a fault."""
        if node is None:
            return None
        try:
            return read_when(self.raw(node), at(node))
        except Bad as bad:
            self.fault(bad.pos, bad.message)
            return None

    def raw(self, node: yaml.Node) -> str:
        """A scalar's text unstripped, so that columns hold."""
        if isinstance(node, yaml.ScalarNode) and not node.tag.startswith("!"):
            return str(node.value)
        hint = ": YAML keeps a word after ! for itself, write the value in quotes" if node.tag.startswith("!") else ""
        raise Bad(at(node), f"expected a text{hint}")

    def block(self, key: yaml.ScalarNode, node: yaml.Node) -> Block | None:
        """One resource block."""
        rows = self.names(node, BLOCK, "a resource block")
        type_, _, name = key.value.partition("#")
        for needed in ("category", "key", "set"):
            if needed not in rows:
                self.fault(at(key), f"{type_} needs '{needed}:'")
                return None
        key_nodes = rows["key"].value if isinstance(rows["key"], yaml.SequenceNode) else [rows["key"]]
        keys = [path for path in map(self.path, key_nodes) if path is not None]
        profile = self.scalar(rows["profile"]) if "profile" in rows else None
        return Block(
            type_,
            name,
            self.scalar(rows["category"]),
            tuple(keys),
            self.path(rows["each"]) if "each" in rows else None,
            self.when(rows.get("when")),
            "" if profile == "none" else profile,
            self.lines(rows["set"]),
            at(key),
        )

    def lines(self, node: yaml.Node) -> tuple[Line | Group, ...]:
        """The lines under `set`."""
        found: list[Line | Group] = []
        seen: set[object] = set()
        for key, value in self.pairs(node, "set"):
            try:
                if (key.value, _texts(value)) in seen:
                    raise Bad(at(key), "this very line stands here twice: it would write everything twice; keep one")
                seen.add((key.value, _texts(value)))
                target = read_target(key.value, at(key))
                found.append(self.line(target, value, at(key)))
            except Bad as bad:
                self.fault(bad.pos, bad.message)
        return tuple(found)

    def line(self, target: tuple[Part, ...], node: yaml.Node, pos: Pos) -> Line | Group:
        """One line, its `{from, when}` form, or a group. Raises `Bad`."""
        if not isinstance(node, yaml.MappingNode):
            return Line(target, read_flow(self.raw(node), at(node)), None, pos)
        rows = self.names(node, ("from", "when", "each", "set"), "a line")
        if "from" in rows:
            return Line(target, read_flow(self.raw(rows["from"]), at(rows["from"])), self.when(rows.get("when")), pos)
        if "each" in rows and "set" in rows:
            each = self.path(rows["each"])
            if each is None:
                raise Bad(pos, "this group cannot be read")
            return Group(target, each, self.when(rows.get("when")), self.lines(rows["set"]), pos)
        raise Bad(pos, "a line with parts has 'from:' (and 'when:'), or 'each:' and 'set:'")


def _texts(node: yaml.Node) -> object:
    """What a node says, without its places."""
    if isinstance(node, yaml.MappingNode):
        return tuple((_texts(key), _texts(value)) for key, value in node.value)
    return tuple(map(_texts, node.value)) if isinstance(node, yaml.SequenceNode) else node.value
