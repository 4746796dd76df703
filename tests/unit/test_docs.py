"""The documents say what is there: every setting, error, log event, command, scenario and hazard, and no link leads nowhere."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from gateway import errors
from gateway.ports import WORK_KINDS
from gateway.settings import Pds, Sds, Settings, Source
from tests.cli_pages import cli_page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCENARIOS = 58
HAZARDS = 20
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
WAITS = "waits for: "


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """Every row of every Markdown table, as cells."""
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-: ")]


@cache
def kept() -> tuple[Path, ...]:
    """Every file that belongs to the project: known to git, or new and not ignored."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    said = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if said.returncode == 0:
        found = tuple(path for path in (ROOT / line for line in said.stdout.splitlines()) if path.is_file())
    else:  # not a git work tree, or somebody else's: everything but what the build makes
        made = {"var", "__pycache__", "node_modules"}
        parts = ((path, path.relative_to(ROOT).parts) for path in ROOT.rglob("*") if path.is_file())
        found = tuple(path for path, names in parts if not names[0].startswith(".") and not made & set(names))
    assert found
    return found


def markdown() -> list[Path]:
    return [path for path in kept() if path.suffix == ".md"]


@cache
def known_tests() -> frozenset[tuple[str, str]]:
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.add((path.relative_to(ROOT).as_posix(), node.name))
    return frozenset(found)


@cache
def needs_a_program(file: str) -> bool:
    """Whether tests of this file are skipped where some program or folder is missing."""
    return re.search(r"mark\.(postgres|browser|node|samples)\b", read(file)) is not None


def named_tests(text: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in TEST_ID.finditer(text)]


# ------------------------------------------------------------------------------------------------------------ settings


def documented_settings() -> dict[str, str]:
    found = {}
    for row in rows(read("docs/running-it.md").partition("\n## Settings\n")[2].partition("\n## ")[0]):
        match = re.fullmatch(r"`(GATEWAY_[A-Z_]+|(?:pds|sds|sources\.NAME)\.\w+)`", row[0])
        if match:
            assert match[1] not in found, f"{match[1]} is documented twice"
            found[match[1]] = row[1].strip("`")
    return found


def real_settings() -> dict[str, str]:
    def of(model: type[BaseModel], name: str) -> Iterator[tuple[str, str]]:
        for field, info in model.model_fields.items():
            value = info.get_default(call_default_factory=True)
            text = "required" if info.is_required() else "none" if value in (None, {}) else str(value) or "empty"
            yield name.format(field, upper=field.upper()), text

    return dict(
        [
            *of(Settings, "GATEWAY_{upper}"),
            *of(Pds, "pds.{0}"),
            *of(Sds, "sds.{0}"),
            *of(Source, "sources.NAME.{0}"),
        ]
    )


def test_every_setting_is_documented_with_its_true_default() -> None:
    assert documented_settings() == real_settings()


def test_no_setting_that_is_secret_has_a_default() -> None:
    for model in (Settings, Pds, Sds, Source):
        for name, info in model.model_fields.items():
            if SecretStr.__name__ in str(info.annotation):
                assert info.default is None, name


# -------------------------------------------------------------------------------------------------- errors, events, cli


def classes_of(base: type[Exception]) -> Iterator[type[Exception]]:
    yield base
    for one in base.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from classes_of(one)


def test_every_error_is_listed_with_what_a_caller_sees_of_it() -> None:
    listed = {row[0].strip("`"): row[1:] for row in rows(read("docs/api-errors.md"))}
    for error in classes_of(errors.GatewayError):
        assert issubclass(error, errors.GatewayError)
        told = [str(error.status), f"`{error.issue_code}`", f"`{error.spine_code}`", error.public_text]
        assert listed.get(error.__name__) == told, f"docs/api-errors.md: {error.__name__} should read {told}"
    others = [errors.OAuthRefused, errors.StartupRefused, *classes_of(errors.SourceError)]
    assert [error.__name__ for error in others if error.__name__ not in listed] == []
    real = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert {name for name in listed if name[:1].isupper()} <= real


def test_every_event_of_the_server_log_is_documented_and_none_besides() -> None:
    said = set()
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        text = path.read_text("utf-8")
        assert text.count("get_logger()") == text.count("\n_log = structlog.get_logger()"), (
            f"{path.name}: a logger is called _log"
        )
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="_log")), args=[ast.Constant(value=str(event)), *_]):
                    said.add(event)
                case ast.Call(func=ast.Attribute(value=ast.Name(id="_log"))):
                    pytest.fail(f"{path.name}: an event's name is a constant")
    section = read("docs/running-it.md").partition("## Logs")[2].partition("\n## ")[0]
    documented = {row[0].strip("`") for row in rows(section) if row[0].startswith("`")}
    assert said == documented
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", name) for name in said)


def test_every_kind_of_work_item_that_is_opened_is_on_the_list_of_kinds_and_documented() -> None:
    opened = set()
    for path in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "NewWork":
                kind = node.args[0] if node.args else next(more.value for more in node.keywords if more.arg == "kind")
                opened |= {kind.value} if isinstance(kind, ast.Constant) else set()
    assert len(opened) > 5
    assert opened <= set(WORK_KINDS)
    page = read("docs/identity.md")
    assert [kind for kind in WORK_KINDS if f"`{kind}`" not in page] == []


def test_every_kind_of_audit_event_is_documented() -> None:
    kinds = set()
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Entry":
                first = [keyword.value for keyword in node.keywords if keyword.arg == "kind"] or node.args[:1]
                kinds.update(value.value for value in first if isinstance(value, ast.Constant))
    section = read("docs/auditing.md").partition("## What is recorded")[2].partition("\n## ")[0]
    documented = {row[0].strip("`") for row in rows(section) if row[0].startswith("`")}
    assert kinds <= documented


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    assert read("docs/cli.md") == cli_page(), "run: python -m tests.cli_pages > docs/cli.md"


def code_of(page: str) -> list[str]:
    """Every line of a code block and every span of code."""
    text = read(page)
    blocks = re.findall(r"```[^\n]*\n(.*?)```", text, flags=re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for block in blocks for line in block.splitlines()] + spans


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in markdown()])
def test_every_command_that_a_document_names_exists(page: str) -> None:
    there = set(re.findall(r"^##+ (gateway .+)$", cli_page(), flags=re.MULTILINE))
    groups = {name.rpartition(" ")[0] for name in there if name.count(" ") == 2}
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), flags=re.MULTILINE))
    unknown = []
    for line in code_of(page):
        for noun, verb in re.findall(r"(?:^|\$\(|[;|] ?)gateway ([a-z]+)(?: ([a-z]+\b))?", line):
            named = f"gateway {noun}"
            unknown += [f"{named} {verb}"] if named in groups and verb and f"{named} {verb}" not in there else []
            unknown += [named] if named not in there else []
        unknown += [f"make {target}" for target in re.findall(r"^make ([a-z]+)", line) if target not in targets]
    assert unknown == []


# -------------------------------------------------------------------------------------------------- scenarios, hazards


def test_each_of_the_scenarios_names_its_tests_or_what_it_waits_for() -> None:
    table = {int(row[0]): row for row in rows(read("docs/scenarios.md")) if row[0].isdigit()}
    assert sorted(table) == list(range(1, SCENARIOS + 1))
    for number, row in table.items():
        assert named_tests(row[-1]) or WAITS in row[-1], f"scenario {number} names neither a test nor what it waits for"


def test_each_hazard_is_whole_and_shows_its_evidence() -> None:
    table = {row[0]: row for row in rows(read("docs/assurance/hazard-log.md")) if re.fullmatch(r"H\d\d", row[0])}
    assert sorted(table) == [f"H{number:02}" for number in range(1, HAZARDS + 1)]
    for name, row in table.items():
        assert len(row) == len(rows(read("docs/assurance/hazard-log.md"))[0]), f"{name} has another number of columns"
        assert all(row), f"{name} has an empty cell"
    evidence = {row[0]: row[1] for row in rows(read("docs/assurance/hazard-log.md")) if re.fullmatch(r"H\d\d evidence", row[0])}
    assert sorted(evidence) == [f"{name} evidence" for name in sorted(table)]
    for name, said in evidence.items():
        runs_anywhere = [file for file, _ in named_tests(said) if not needs_a_program(file)]
        assert runs_anywhere, f"{name} names no test that runs on every machine"
    waiting = {name for name, said in evidence.items() if WAITS in said}
    assert {f"{name} evidence" for name, row in table.items() if "**open**" in row[-2]} == waiting


def test_each_risk_is_what_severity_and_likelihood_make_of_it() -> None:
    matrix = {
        int(row[0][-1]): [int(cell) for cell in row[1:]]
        for row in rows(read("docs/assurance/README.md"))
        if re.fullmatch(r"[a-z ]+[1-5]", row[0])
    }
    assert sorted(matrix) == [1, 2, 3, 4, 5]
    for row in rows(read("docs/assurance/hazard-log.md")):
        if re.fullmatch(r"H\d\d", row[0]):
            severity, likelihood, risk, likelihood_after, risk_after = (int(cell) for cell in row[5:10])
            assert (risk, risk_after) == (matrix[likelihood][severity - 1], matrix[likelihood_after][severity - 1]), row[0]
            assert risk_after <= 3, f"{row[0]} is not acceptable as it stands"


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in markdown()])
def test_every_test_that_a_document_names_exists(page: str) -> None:
    missing = [f"{file}::{name}" for file, name in named_tests(read(page)) if (file, name) not in known_tests()]
    assert missing == []


# ----------------------------------------------------------------------------------------------------- links and names


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [path.relative_to(ROOT).as_posix() for path in markdown()])
def test_no_link_leads_nowhere(page: str) -> None:
    broken = []
    text = re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, fragment = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        place = (ROOT / page).parent / path if path else ROOT / page
        if not place.exists():
            broken.append(target)
        elif fragment and place.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", place.read_text("utf-8"), flags=re.MULTILINE)
            if fragment not in map(anchor, headings):
                broken.append(target)
    assert broken == []


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = read("README.md").partition("## The tree")[2].split("```")[1]
    folders = re.findall(r"^([a-z_]+)/", tree, flags=re.MULTILINE)
    top = {path.relative_to(ROOT).parts[0] for path in kept() if len(path.relative_to(ROOT).parts) > 1}
    assert set(folders) == {name for name in top if not name.startswith(".")}


def test_decision_records_are_numbered_without_a_gap_and_have_the_same_parts() -> None:
    pages = sorted((DOCS / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text("utf-8")
        assert re.match(rf"# {page.name[:4]} [A-Z]", text), f"{page.name}: its first line is its number and its decision"
        assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"], page.name


# Written in pieces, so that this file does not hold what it looks for.
FORBIDDEN = [
    "".join(pieces)
    for pieces in (
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("registry.npmjs", ".org"),
        ("registry", ".yarnpkg"),
        ("index", "-url ="),
        ("artifact", "ory"),
        ("ghcr", ".io"),
        ("docker", ".io"),
        ("/ro", "ot/"),
        ("/wo", "rk/"),
        ("/ho", "me/"),
        ("/Us", "ers/"),
    )
]
TEXTS = {".md", ".py", ".toml", ".yaml", ".yml", ".lock", ".cedar", ".svg", ".csv", ".html", ".mako", ".lua", ".txt", ".json", ""}


def test_nothing_names_a_package_registry_or_a_place_on_some_machine() -> None:
    found = []
    for path in kept():
        if path.suffix in TEXTS and path.stat().st_size < 3_000_000:
            text = path.read_text("utf-8", errors="replace")
            found += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []


def test_the_image_is_built_from_locked_dependencies_for_a_user_without_rights() -> None:
    lines = read("Dockerfile").splitlines()
    assert any("--require-hashes" in line for line in lines)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(line.startswith("HEALTHCHECK") for line in lines)
    assert any(line.startswith("EXPOSE") for line in lines)


def test_every_adapter_that_ships_is_in_the_tree_and_no_page_counts_them() -> None:
    shipped = {path.parent.name for path in (ROOT / "adapters").glob("*/manifest.toml")}
    (line,) = [line for line in read("README.md").partition("## The tree")[2].splitlines() if line.startswith("adapters/")]
    assert set(re.findall(r"\w+", line.partition(":")[2])) == shipped
    number = r"(?:two|three|four|five|six|seven|eight|nine|ten|\d+)"
    assert [
        path.name for path in DOCS.glob("*.md") if re.search(rf"\b{number} adapters that ship", path.read_text("utf-8"))
    ] == []


def test_a_page_that_sets_a_shell_variable_sets_it_before_it_is_used() -> None:
    late, found = [], 0
    for path in (ROOT / "README.md", *DOCS.glob("*.md")):
        text = path.read_text("utf-8")
        for name in set(re.findall(r"^(?:export )?([A-Z]+)=\$\(", text, re.MULTILINE)):
            found += 1
            made, used = re.search(rf"^(?:export )?{name}=", text, re.MULTILINE), re.search(rf"\$\{{?{name}\b", text)
            late += [f"{path.name}: {name}"] if made and used and used.start() < made.start() else []
    assert (late, found > 2) == ([], True)


def test_no_table_of_a_page_is_a_head_without_rows() -> None:
    head_alone = re.compile(r"^\|[^\n]*\n\|[-:| ]+\|\n(?!\|)", re.MULTILINE)
    pages = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") + "\n" for path in markdown()}
    assert sum("|---" in text for text in pages.values()) > 10
    assert head_alone.search("| what | found |\n|---|---|\n\n")
    assert [name for name, text in pages.items() if head_alone.search(text)] == []
