"""The part of an adapter's README that is made: what it gives, to whom it may be asked, and one answer as it comes out."""

import json
import re
from typing import TYPE_CHECKING, Final

from gateway.mapping.rewrite import encode, parse

if TYPE_CHECKING:
    from gateway.kit.conformance import Subject

BEGIN: Final = "<!-- made by gateway adapter readme: what stands here is written anew -->"
END: Final = "<!-- end of what is made -->"
BLOCK: Final = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)


def made(one: "Subject") -> str:
    """The block as manifest, maps and cases have it now."""
    manifest = one.manifest
    key = {"nhs_number": "NHS number", "local_id": "local id, by the crosswalk"}[manifest.identity]
    rows = [
        ("owner", manifest.owner),
        ("read by", f"connector `{manifest.connector}`" if manifest.connector else "its own `adapter.py`"),
        ("asked by", key),
        ("asked for", ", ".join(sorted(manifest.purposes)) or "nothing"),
        ("never asked for", ", ".join(sorted(manifest.never_for)) or "-"),
        ("gives", ", ".join(f"`{name}` ({category})" for name, category in sorted(manifest.gives.items()))),
        ("budget", f"{manifest.budget_s:g} s"),
        ("maps", ", ".join(f"`{plan.title}`" for plan in one.maps.plans(one.name)) or "-"),
        ("feeds protection", "yes" if manifest.feeds_protection else "no"),
    ]
    out = [BEGIN, "## In short", "", "| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows)]
    case = next((case for case in one.cases if (case.folder / f"{case.name}.out.json").is_file()), None)
    given = parse((case.folder / f"{case.name}.out.json").read_bytes()) if case is not None else []
    if case is not None and given:
        out += ["", f"One resource as it comes out, of the invented case `{case.name}`:", "", "```json"]
        out += [json.dumps(json.loads(encode(given[0])), indent=1, ensure_ascii=False), "```"]
    return "\n".join([*out, END])


def renewed(readme: str, block: str) -> str:
    """A README -> the same with this block, at its end where it had none."""
    if BLOCK.search(readme):
        return BLOCK.sub(lambda _: block, readme, count=1)
    return f"{readme.rstrip()}\n\n{block}\n"
