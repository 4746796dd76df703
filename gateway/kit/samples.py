"""A sample of a source, in the form its connector reads -> records whose fields can be guessed, and where they were found.

JSON, CSV, XML, HL7 v2, an STU3 message, an answer or the introspection of a GraphQL service, a SQLite file or the CREATE TABLE
statements of a database. What cannot be read is refused without a word of it.
"""

import csv
import difflib
import io
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.adapter import SourceContractBroken
from gateway.connectors.hl7v2 import Message, Segment, messages_of, read_path
from gateway.connectors.message_bundle import event_of
from gateway.connectors.stu3 import read_stu3
from gateway.connectors.xml_tree import Element, parse, tree_of

MOST: Final = 200  # records looked at
SQL_TYPES: Final = (
    (r"bool", "boolean"),
    (r"int|serial", "integer"),
    (r"num|dec|real|float|double|money", "decimal"),
    (r"timestamp|datetime", "dateTime"),
    (r"date", "date"),
)
GRAPHQL_TYPES: Final = {"Int": "integer", "Float": "decimal", "Boolean": "boolean", "Date": "date", "DateTime": "dateTime"}
HL7_NAMES: Final = {
    "PID-3.1": "number",
    "PID-5.1": "family",
    "PID-5.2": "given",
    "PID-7": "birth_date",
    "PID-8": "sex",
    "PID-11.5": "postcode",
    "MSH-10": "message_id",
    "OBR-3": "order_id",
    "OBR-3.1": "order_id",
    "OBR-4.1": "test_code",
    "OBR-4.2": "test_text",
    "OBR-7": "taken_at",
    "OBX-3.1": "code",
    "OBX-3.2": "code_text",
    "OBX-5": "value",
    "OBX-5.1": "value",
    "OBX-6": "unit",
    "OBX-6.1": "unit",
    "OBX-11": "status",
    "PV1-3.1": "ward",
}
CONTROL_ID: Final = 10  # MSH-10; the rest of the header is the connector's
USED: Final = frozenset({"MessageHeader", "Patient", "Organization", "Practitioner", "Location"})

_TABLE = re.compile(r"create\s+table\s+(?:if\s+not\s+exists\s+)?([\w.\"`\[\]]+)\s*\((.*?)\)\s*(?:;|$)", re.IGNORECASE | re.DOTALL)
_EVENT = re.compile(r"(ADT|ORU)\^[A-Z]\d\d", re.ASCII)
_NOT_COLUMNS = ("primary", "foreign", "unique", "constraint", "check", "key", "index", "exclude")


class SampleRefused(Exception):
    """The sample or the name cannot be used; the text says why, and holds no value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record of a sample."""

    name: str  # "" where the sample has only one: becomes a part of its schema's name
    records: list[dict[str, Any]]
    types: Mapping[tuple[str, ...], str] = field(default_factory=dict)  # what a schema says already
    place: Mapping[str, Any] = field(default_factory=dict)  # where it was found, in its connector's words


def read_sample(connector: str, sample: bytes) -> list[Kind]:
    """A connector and a sample of what it reads -> kinds of records. Raises `SampleRefused`."""
    reader = READERS.get(connector)
    if reader is None:
        near = difflib.get_close_matches(connector.lower(), READERS, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise SampleRefused(f"no such connector{hint}: a sample can be read for {', '.join(sorted(READERS))}")
    try:
        return reader(sample)
    except (SourceContractBroken, RecursionError, sqlite3.Error):
        raise SampleRefused(f"the sample is not what {connector} reads") from None


def delimiter_of(text: str) -> str:
    """The sign between the cells of a CSV."""
    first = text.partition("\n")[0]
    return max(",;\t|", key=first.count)


def decoded(sample: bytes) -> str:
    """Bytes -> text, UTF-8 or what Windows writes."""
    try:
        return sample.decode("utf-8-sig")
    except UnicodeDecodeError:
        return sample.decode("cp1252", errors="replace")


def _csv(sample: bytes) -> list[Kind]:
    text = decoded(sample)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter_of(text))
    try:
        names = reader.fieldnames or []
        if len(names) < 2 or len(set(names)) != len(names) or any(not column.strip() for column in names):
            raise SampleRefused("the sample's first line must name its columns, each once")
        rows = [{column: (value or "").strip() or None for column, value in row.items() if column is not None} for row in reader]
    except csv.Error:
        raise SampleRefused("the sample is not CSV") from None
    if not rows:
        raise SampleRefused("the sample has no row below its column names")
    return [Kind("", rows[:MOST], place={"delimiter": delimiter_of(text)})]


def _json(sample: bytes) -> Any:
    try:
        return json.loads(sample)
    except (ValueError, RecursionError):
        raise SampleRefused("the sample is not JSON") from None


def _http_json(sample: bytes) -> list[Kind]:
    path, records = _listed(_json(sample))
    return [Kind("", records, place={"records": path})]


def _listed(answer: Any) -> tuple[str, list[dict[str, Any]]]:
    """Where the records of an answer are: itself, or the first list of objects on the way in."""
    if isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
        return "$", answer[:MOST]
    if not isinstance(answer, dict) or not answer:
        raise SampleRefused("a JSON sample is one record, a list of records, or an answer with such a list in it")
    waiting: list[tuple[str, dict[str, Any]]] = [("$", answer)]
    while waiting:
        path, box = waiting.pop(0)
        for name, value in box.items():
            if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
                if not _is_record(box):
                    return f"{path}.{name}", value[:MOST]
            elif isinstance(value, dict):
                waiting.append((f"{path}.{name}", value))
    return "$", [answer]


def _is_record(box: Mapping[str, Any]) -> bool:
    """An object of mostly plain values is a record with a list in it, not an envelope around records."""
    return sum(not isinstance(value, list | dict) for value in box.values()) > 3


def _graphql(sample: bytes) -> list[Kind]:
    answer = _json(sample)
    data = answer.get("data", answer) if isinstance(answer, dict) else answer
    if isinstance(data, dict) and "__schema" in data:
        return [_introspected(data["__schema"])]
    path, records = _listed(answer)
    return [Kind("", records, place={"records": path})]


def _introspected(schema: Any) -> Kind:
    """The object type with the most plain fields, as a record: which type is wanted, a sample cannot say."""
    try:
        roots = {(schema.get(root) or {}).get("name") for root in ("queryType", "mutationType", "subscriptionType")}
        types = {one["name"]: one for one in schema["types"] if one["kind"] == "OBJECT" and not one["name"].startswith("__")}
        kinds = {one["name"]: one["kind"] for one in schema["types"]}
        candidates = {name: one["fields"] for name, one in types.items() if name not in roots and one.get("fields")}
        name = max(candidates, key=lambda one: sum(_named(part["type"])[0] not in types for part in candidates[one]))
        record: dict[str, Any] = {}
        found: dict[tuple[str, ...], str] = {}
        for part_ in candidates[name]:
            type_, many = _named(part_["type"])
            if type_ in types:
                continue
            record[part_["name"]] = [""] if many else ""
            found[(part_["name"],)] = "code" if kinds.get(type_) == "ENUM" else GRAPHQL_TYPES.get(type_, "string")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SampleRefused("the introspection cannot be read") from None
    return Kind("", [record], found, {"records": f"$.data.{name[:1].lower()}{name[1:]}s"})


def _named(type_: Mapping[str, Any]) -> tuple[str, bool]:
    many = False
    while type_.get("ofType"):
        many = many or type_["kind"] == "LIST"
        type_ = type_["ofType"]
    return str(type_["name"]), many


def _sql(sample: bytes) -> list[Kind]:
    is_file = sample.startswith(b"SQLite format 3\0")
    kinds = list(_tables_of_file(sample) if is_file else _tables_of_text(decoded(sample)))
    if not kinds:
        raise SampleRefused("an SQL sample is a SQLite file, or CREATE TABLE statements")
    return kinds


def _tables_of_file(sample: bytes) -> Iterator[Kind]:
    held = sqlite3.connect(":memory:")
    try:
        held.deserialize(sample)
        names = [
            row[0] for row in held.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
        ]
        for name in names:
            quoted = '"' + name.replace('"', '""') + '"'
            columns = [(row[1], row[2]) for row in held.execute(f"pragma table_info({quoted})")]
            rows = held.execute(f"select * from {quoted} limit {MOST}").fetchall()  # noqa: S608 - a name of the sample itself, quoted
            records = [dict(zip([column for column, _ in columns], row, strict=True)) for row in rows]
            yield Kind(name, records or [{column: None for column, _ in columns}], _sql_types(columns), {"table": name})
    finally:
        held.close()


def _tables_of_text(text: str) -> Iterator[Kind]:
    text = re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    for name, body in _TABLE.findall(text):
        columns = []
        for said in re.split(r",(?![^()]*\))", body):
            words = said.split(None, 1)
            if len(words) == 2 and words[0].lower() not in _NOT_COLUMNS:
                columns.append((words[0].strip('"`[]'), words[1]))
        plain = name.split(".")[-1].strip('"`[]')
        if columns:
            yield Kind(plain, [{column: None for column, _ in columns}], _sql_types(columns), {"table": name})


def _sql_types(columns: list[tuple[str, str]]) -> dict[tuple[str, ...], str]:
    found: dict[tuple[str, ...], str] = {}
    for column, declared in columns:
        for pattern, type_ in SQL_TYPES:
            if re.search(pattern, declared.partition("(")[0].lower()):
                found[(column,)] = type_
                break
    return found


def _xml(sample: bytes) -> list[Kind]:
    root = parse(sample)
    path = _record_path(root)
    elements = [root]
    for tag in path:
        elements = [child for parent in elements for child in parent.iterchildren(tag)]
    trees = [tree for tree in map(tree_of, elements[:MOST]) if isinstance(tree, dict)]
    if not trees:
        raise SampleRefused("no element of the sample looks like one person's record")
    return [Kind("", trees, place={"record": "/".join([str(root.tag), *path]), "outside": _outside(root, path)})]


def _record_path(root: Element) -> list[str]:
    """The outermost element with parts that repeats; where none does, the one named like a person."""
    level: list[tuple[list[str], list[Element]]] = [([], [root])]
    named: list[str] | None = None
    while level:
        below: dict[tuple[str, ...], list[Element]] = {}
        for path, elements in level:
            for element in elements:
                for child in element:
                    if isinstance(child.tag, str) and len(child):
                        below.setdefault((*path, child.tag), []).append(child)
        for tags, elements in below.items():
            if len(elements) > 1:
                return list(tags)
            if named is None and re.search(r"child$|pupil|person|patient|record|member|client", tags[-1].lower()):
                named = list(tags)
        level = [(list(tags), elements) for tags, elements in below.items()]
    if named is None:
        raise SampleRefused("no element of the sample looks like one person's record")
    return named


def _outside(root: Element, path: list[str]) -> list[str]:
    """Paths of leaves beside the records: the header."""
    found = []
    for element in root.iter():
        if isinstance(element.tag, str) and not len(element) and (element.text or "").strip():
            tags = [str(one.tag) for one in reversed([element, *element.iterancestors()])][1:]
            if tags[: len(path)] != path and "/".join(tags) not in found:
                found.append("/".join(tags))
    return found


def _message(sample: bytes) -> list[Kind]:
    bundle = read_stu3(sample)
    resources = [entry.get("resource") for entry in bundle.get("entry", ()) if isinstance(entry, dict)]
    by_type: dict[str, list[dict[str, Any]]] = {}
    for resource in resources:
        if isinstance(resource, dict) and isinstance(resource.get("resourceType"), str):
            by_type.setdefault(resource["resourceType"], []).append(resource)
    told = [name for name in by_type if name not in USED]
    if not told:
        raise SampleRefused("the message holds nothing beside its header, people and places")
    record: dict[str, Any] = {"event": "invented", "change": "invented", "message": "invented", "unread": ["invented"]}
    record |= {f"{name[:1].lower()}{name[1:]}": by_type[name] for name in told}
    reads = {f"{name[:1].lower()}{name[1:]}": name for name in told}
    return [Kind("", [record], place={"event": event_of(bundle), "reads": reads})]


def _hl7(sample: bytes) -> list[Kind]:
    messages = messages_of(sample, "utf-8")
    events: dict[str, list[Message]] = {}
    for message in messages:
        event = f"{message.text(read_path('MSH-9.1')) or ''}^{message.text(read_path('MSH-9.2')) or ''}"
        if not _EVENT.fullmatch(event):
            raise SampleRefused("a message of the sample does not say which event it tells (MSH-9)")
        events.setdefault(event, []).append(message)
    kinds = []
    for event, told in sorted(events.items()):
        fields: dict[str, str] = {}
        each: dict[str, str] = {}
        for message in told:
            for segment in message.segments:
                into = each if segment.name == "OBX" else fields
                into.update((name, path) for name, path in _named_fields(segment) if name not in into)
        records = [_hl7_record(message, fields, each) for message in told]
        kinds.append(Kind(event.replace("^", "-").lower(), records, place={"event": event, "fields": fields, "each": each}))
    return kinds


def _named_fields(segment: Segment) -> Iterator[tuple[str, str]]:
    """Every path of a segment that says something, each with the name it will have in the record."""
    for number in range(1, len(segment.fields)):
        if segment.name == "MSH" and number != CONTROL_ID:
            continue
        repetitions = segment.field(number)
        components = max((len(one) for one in repetitions), default=0)
        for component in range(1, components + 1):
            said = f"{segment.name}-{number}.{component}" if components > 1 else f"{segment.name}-{number}"
            if segment.text(read_path(said)) is not None:
                yield HL7_NAMES.get(said, said.lower().replace("-", "_").replace(".", "_")), said


def _hl7_record(message: Message, fields: Mapping[str, str], each: Mapping[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {name: message.text(read_path(said)) for name, said in fields.items()}
    if each:
        observed = [segment for segment in message.segments if segment.name == "OBX"]
        record["results"] = [{name: one.text(read_path(said)) for name, said in each.items()} for one in observed]
    return record


def _fhir(sample: bytes) -> list[Kind]:
    answer = _json(sample)
    entries = (
        answer.get("entry", []) if isinstance(answer, dict) and answer.get("resourceType") == "Bundle" else [{"resource": answer}]
    )
    try:
        types = sorted({entry["resource"]["resourceType"] for entry in entries} - {"Patient", "OperationOutcome"})
    except (KeyError, TypeError):
        raise SampleRefused("a fhir-rest sample is an R4 Bundle or resource") from None
    if not types:
        raise SampleRefused("the sample holds no resource but the patient")
    return [Kind("", [], place={"types": types})]


READERS: Final[Mapping[str, Callable[[bytes], list[Kind]]]] = {
    "csv-drop": _csv,
    "fhir-rest": _fhir,
    "graphql": _graphql,
    "hl7v2-drop": _hl7,
    "http-json": _http_json,
    "message-drop": _message,
    "sql": _sql,
    "xml-drop": _xml,
}
