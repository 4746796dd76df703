"""The connector's own table of a new manifest, as far as a sample tells: what it cannot tell says TODO."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.kit.guessing import FORMS, NUMBER, TIMES, Guess
from gateway.kit.samples import Kind

KEY = r"(^|_| )(id|ref)$|id$|ref$|number$|no$"
BORN = r"dob|birth|born"
WRITTEN = r"updat|written|extract|as.?of|modif|changed|recorded"


def quoted(value: Any) -> str:
    """A text or list as TOML has it."""
    return json.dumps(value, ensure_ascii=False)


def is_claim(guess: Guess) -> bool:
    """Whether a field holds NHS numbers, or is named as if."""
    return guess.invented in (NUMBER, [NUMBER]) or guess.looks(r"nhs")


def identity_of(guesses: Sequence[Guess]) -> Guess | None:
    """The field that says whose record it is."""
    leaves = [guess for guess in guesses if guess.is_leaf]
    number = next((guess for guess in leaves if is_claim(guess)), None)
    return number or next((guess for guess in leaves if guess.looks(r"(^|_| )(id|ref)$|id$")), None)


def table(connector: str, kinds: Sequence[tuple[str, Kind, tuple[Guess, ...]]], identity: str) -> list[str]:
    """Schema, kind and guesses of each kind of record -> lines of the manifest."""
    if connector == "fhir-rest":
        return list(_fhir(kinds[0][1]))
    if connector == "hl7v2-drop":
        return list(_hl7(kinds))
    lines: list[str] = []
    for schema, kind, guesses in kinds:
        maker = {
            "csv-drop": _csv,
            "graphql": _graphql,
            "http-json": _http_json,
            "message-drop": _message,
            "sql": _sql,
            "xml-drop": _xml,
        }[connector]
        lines += [*([""] if lines else []), *maker(schema, kind, guesses, identity)]
    return lines


def _csv(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    rows = kind.records
    whose = identity_of(guesses)
    dates = [guess for guess in guesses if guess.form]
    born = next((guess for guess in dates if guess.looks(BORN)), None)
    written = next((guess for guess in dates if guess.looks(r"updat|written|extract|as.of|modif")), None)
    as_of = written or next((guess for guess in reversed(dates) if guess is not born), None)
    alone = [guess for guess in guesses if len({str(row.get(guess.name)) for row in rows}) == len(rows) and guess is not whose]
    key = next((guess for guess in alone if guess.looks(r"id$|ref$|number$|no$")), alone[0] if alone else None)
    yield "[csv]"
    yield f'schema = "{schema}"'
    yield 'kind = "record"'
    yield 'delivers = "increments" # or "snapshot": who is no longer listed is gone'
    yield f"columns = {quoted([guess.name for guess in guesses])}"
    for setting, guess in (("identity", whose), ("birth_date", born), ("key", key), ("as_of", as_of)):
        if guess is not None:
            yield f"{setting} = {quoted(guess.name)}"
        elif setting != "birth_date":
            yield f'{setting} = "TODO" # no column of the sample looks like it'
    if kind.place["delimiter"] != ",":
        yield f"delimiter = {quoted(kind.place['delimiter'])}"
    if born is not None and born.form != FORMS[0]:
        yield f'dates = "{born.form}"'
    if as_of is not None and as_of.form not in (FORMS[0], TIMES[0]):
        yield f'times = "{as_of.form}"'


def _found(schema: str, kind: Kind, guesses: Sequence[Guess]) -> Iterator[str]:
    yield f'schema = "{schema}"'
    yield f"records = {quoted(kind.place['records'])}"
    whose = identity_of(guesses)
    yield f"identity = {quoted(whose.name)}" if whose is not None else 'identity = "TODO" # whose record it is'
    leaves = [guess for guess in guesses if guess.is_leaf and not guess.repeats]
    for setting, pattern in (("birth_date", BORN), ("as_of", WRITTEN)):
        guess = next((one for one in leaves if one.looks(pattern)), None)
        if guess is not None:
            yield f"{setting} = {quoted(guess.name)}"


def _http_json(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    yield "[route.records]"
    yield 'types = ["TODO"] # R4 types its map makes: it is not asked for others'
    yield 'method = "POST"'
    yield "path = \"TODO\" # below the source's option base_url; the person's key is never in it"
    yield f'json = {{ key = ":{identity}" }} # the body it is asked with'
    yield from _found(schema, kind, guesses)


def _graphql(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    names = kind.place["records"].removeprefix("$").removeprefix(".").split(".")[1:] or ["records"]
    plain = " ".join(guess.name for guess in guesses if len(guess.path) == 1 and guess.is_leaf)
    inner = plain
    for depth, name in enumerate(reversed(names)):
        asked = "(key: $key)" if depth == len(names) - 1 else ""
        inner = f"{name}{asked} {{ {inner} }}"
    yield "[graphql]"
    yield 'path = "graphql" # below the source\'s option base_url'
    yield 'types = ["TODO"] # R4 types its map makes'
    yield f"query = {quoted(f'query ($key: ID!) {{ {inner} }}')} # TODO: as the service's own schema has it"
    yield f'variables = {{ key = ":{identity}" }}'
    yield from _found(schema, kind, guesses)


def _sql(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    whose = identity_of(guesses)
    name = kind.place["table"].split(".")[-1].strip('"`[]')
    columns = ", ".join(guess.name for guess in guesses)
    born = next((guess for guess in guesses if guess.looks(BORN)), None)
    yield f"[query.{quoted(name)}]"
    yield f'schema = "{schema}"'
    yield "types = [] # R4 types its map makes: it is not asked for others"
    yield f"person = {quoted(whose.name)}" if whose is not None else 'person = "TODO" # the column that says whose row it is'
    if born is not None:
        yield f"birth_date = {quoted(born.name)}"
    where = whose.name if whose is not None else "TODO"
    words = ("select", columns, "from", kind.place["table"], "where", where, "=", f":{identity}")
    yield f"sql = {quoted(' '.join(words))}"


def _xml(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    leaves = [guess for guess in guesses if guess.is_leaf and not any(part.startswith("@") for part in guess.path)]
    whose = next((guess for guess in leaves if guess.looks(r"id$|ref$|number$")), None)
    born = next((guess for guess in leaves if guess.looks(BORN) and not guess.looks(r"expected")), None)
    outside = [
        path for path in kind.place["outside"] if any(word in path.lower() for word in ("date", "time", "created", "asof"))
    ]
    yield "[xml]"
    yield f'schema = "{schema}"'
    yield 'kind = "record"'
    yield f"record = {quoted(kind.place['record'])}"
    yield f"identity = {quoted('/'.join(whose.path))}" if whose is not None else 'identity = "TODO" # below the record'
    if born is not None:
        yield f"birth_date = {quoted('/'.join(born.path))}"
    yield f"as_of = {quoted(outside or ['TODO'])} # below the root: when the extract was true"


def _message(schema: str, kind: Kind, guesses: Sequence[Guess], identity: str) -> Iterator[str]:
    reads = kind.place["reads"]
    yield f"[events.{quoted(kind.place['event'])}]"
    yield f'schema = "{schema}"'
    yield f"focus = {quoted(sorted(reads.values()))} # what the header may point at"
    yield f"reads = {{ {', '.join(f'{field} = {quoted(name)}' for field, name in reads.items())} }}"


def _hl7(kinds: Sequence[tuple[str, Kind, tuple[Guess, ...]]]) -> Iterator[str]:
    yield "[hl7]"
    yield 'sender = "MSH-4.1"'
    yield 'number_type = ["NH", "NHS"] # PID-3.5 of the repetition that is the person\'s key'
    for schema, kind, _ in kinds:
        fields, each = kind.place["fields"], kind.place["each"]
        yield ""
        yield f"[hl7.events.{quoted(kind.place['event'])}]"
        yield f'schema = "{schema}"'
        yield f'kind = "{kind.name}"'
        key = next((path for path in fields.values() if path in ("OBR-3", "OBR-3.1")), None)
        if key is not None:
            yield f'key = "{key}"'
        yield f"fields = {_inline(fields)}"
        if each:
            yield f'each = {{ segment = "OBX", as = "results", fields = {_inline(each)} }}'


def _fhir(kind: Kind) -> Iterator[str]:
    for number, type_ in enumerate(kind.place["types"]):
        if number:
            yield ""
        about = "subject" if type_ in ("Observation", "Condition", "Encounter", "Procedure", "DiagnosticReport") else "patient"
        yield f"[search.{type_.lower()}]"
        yield f'type = "{type_}"'
        yield f'form = {{ "{about}:identifier" = "https://fhir.nhs.uk/Id/nhs-number|:nhs_number", _count = "200" }}'


def _inline(names: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{name} = {quoted(path)}" for name, path in names.items()) + " }"
