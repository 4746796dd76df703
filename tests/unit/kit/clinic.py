"""A small mappings folder of its own, for tests that change maps."""

import json
from pathlib import Path

SOURCE = """\
schemas:
  - schema: clinic-1
    about: one row for each visit
    fields:
      visit: {type: string, class: operational}
      day: {type: date, class: health}
      left: {type: date, class: health}
      seen_by: {type: string, class: operational, marks: [locating, third-party]}
      kind: {type: code, class: health}
      remark: {type: string, class: social-care}
"""
MAP = """\
map: clinic/visit
version: 1.0.0
reads: clinic-1
because: a test
resources:
  Encounter:
    category: child-health-reviews
    key: visit
    when: day.exists() and kind != 'x'
    set:
      status: = 'finished'
      class.system: = 'http://terminology.hl7.org/CodeSystem/v3-ActCode'
      class.code: = 'AMB'
      subject: = ref('Patient')
      period.start: day | date
      period.end: first(left, day)
      participant[0].individual.display: seen_by
ignore:
  remark: not for anybody
undecided: []
"""
ROW = {"visit": "1", "day": "2026-01-02", "left": "2026-01-03", "seen_by": "N. Urse", "kind": "a"}


def make(folder: Path, *, map_: str = MAP, rows: dict[str, dict[str, str]] | None = None) -> Path:
    """The folder, with a case for each row."""
    place = folder / "clinic"
    (place / "cases").mkdir(parents=True, exist_ok=True)
    (place / "source.yaml").write_text(SOURCE, "utf-8")
    (place / "visit.yaml").write_text(map_, "utf-8")
    for name, row in (rows if rows is not None else {"a-visit": ROW}).items():
        (place / "cases" / f"{name}.in.json").write_text(json.dumps({"schema": "clinic-1", "data": row}), "utf-8")
    return folder
