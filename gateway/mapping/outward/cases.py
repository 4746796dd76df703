"""The cases of outward maps: `NAME.write.json` goes in, `NAME.written.json` and `NAME.refused.txt` must come out."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway.mapping.cases import NUMBER, context, differ, no_golden
from gateway.mapping.context import WriteContext
from gateway.mapping.outward.readback import lost
from gateway.mapping.outward.write import Written, write_record
from gateway.mapping.rewrite import encode, parse
from gateway.mapping.run import Maps

AS_OF = "2026-01-05T09:00:00Z"


@dataclass(frozen=True, slots=True)
class WriteCase:
    """One case: `folder/name.write.json` and what lies beside it."""

    adapter: str
    name: str
    folder: Path

    def given(self) -> dict[str, Any]:
        """What goes in: schema, resources, and optionally key, sender, recipient, as_of."""
        read: dict[str, Any] = parse((self.folder / f"{self.name}.write.json").read_bytes())
        return read

    def run(self, maps: Maps) -> Written:
        """Write it, with the fixed context of cases."""
        given = self.given()
        return write_record(maps, self.adapter, given["schema"], given["resources"], case_context(given), account=True)

    def out(self, came: Written) -> bytes:
        """The record as a golden file has it, with what was kept back."""
        if came.data is None or came.accounting is None:
            return b""
        kept = [f"{path}: {reason}" for path, reason in came.accounting.withheld]
        golden = {"data": came.data, "withheld": kept, "not_sent": list(came.not_sent)}
        return msgspec.json.format(encode(golden), indent=2) + b"\n"

    def refused(self, came: Written) -> bytes:
        """The refusals as a golden file has them."""
        return "".join(f"{one.where}: {one.reason}\n" for one in came.refused).encode()

    def differences(self, came: Written) -> list[str]:
        """What differs from the goldens: paths, never values; of a case without one, how it gets it."""
        if self.is_new(came):
            return [no_golden(self.adapter)]
        golden, refused = self.folder / f"{self.name}.written.json", self.folder / f"{self.name}.refused.txt"
        want = parse(golden.read_bytes()) if golden.is_file() else {}
        found = list(differ(want, parse(self.out(came) or b"{}"), "written"))
        if (refused.read_bytes() if refused.is_file() else b"") != self.refused(came):
            found.append("refusals: not those of the golden")
        return found

    def is_new(self, came: Written) -> bool:
        """Whether something comes out and nothing says yet what must."""
        wanted = (self.folder / f"{self.name}.{ending}" for ending in ("written.json", "refused.txt"))
        return bool(came.data is not None or came.refused) and not any(file.is_file() for file in wanted)

    def accept(self, came: Written) -> None:
        """Write what came out as the golden; a golden of nothing is removed."""
        for name, body in ((f"{self.name}.written.json", self.out(came)), (f"{self.name}.refused.txt", self.refused(came))):
            if body:
                (self.folder / name).write_bytes(body)
            else:
                (self.folder / name).unlink(missing_ok=True)

    def lost(self, maps: Maps, came: Written) -> list[str]:
        """Paths of what was sent and is not read again by an inward map of the schema."""
        if came.accounting is None or came.data is None:
            return []
        given = self.given()
        ctx = context(self.adapter, as_of=datetime.fromisoformat(given.get("as_of", AS_OF)))
        return lost(maps, self.adapter, given["schema"], came.data, given["resources"], came.accounting, ctx)


def case_context(given: dict[str, Any]) -> WriteContext:
    """The context of cases and of files."""
    as_of = datetime.fromisoformat(given.get("as_of", AS_OF))
    recipient, sender = given.get("recipient", "ods:A99902"), given.get("sender", "ods:RXX99")
    return WriteContext(NUMBER, recipient, sender, as_of, given.get("key", "case-key-1"))


def write_cases(folder: Path, adapter: str | None = None) -> Iterator[WriteCase]:
    """Every outward case under a mappings folder, or of one adapter."""
    for place in sorted(folder.iterdir()):
        if (place / "cases").is_dir() and adapter in (None, place.name):
            for file in sorted((place / "cases").glob("*.write.json")):
                yield WriteCase(place.name, file.name.removesuffix(".write.json"), place / "cases")
