"""Step 9 of the line: a source's records -> R4 UK Core resources, by the files under mappings/.

The language is described in docs/mapping-language.md.
"""

from gateway.mapping.accounting import Accounting, public_path
from gateway.mapping.context import Context, Run, Unusable, WriteContext
from gateway.mapping.loading import load, with_code_maps
from gateway.mapping.outward.write import Written, write_record
from gateway.mapping.rewrite import encode, parse
from gateway.mapping.run import R4_SCHEMA, MapResult, Maps, map_record, remade
from gateway.mapping.shape import shape_faults
from gateway.mapping.tree import Fault, MappingFaults
from gateway.mapping.typed import Reader, naming, number_of, person_of

__all__ = [
    "R4_SCHEMA",
    "Accounting",
    "Context",
    "Fault",
    "MapResult",
    "MappingFaults",
    "Maps",
    "Reader",
    "Run",
    "Unusable",
    "WriteContext",
    "Written",
    "encode",
    "load",
    "map_record",
    "naming",
    "number_of",
    "parse",
    "person_of",
    "public_path",
    "remade",
    "shape_faults",
    "with_code_maps",
    "write_record",
]
