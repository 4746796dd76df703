"""YAML is read by libyaml and by PyYAML's own scanner: both place every node alike, so a fault's line and column are the same."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.mapping import MappingFaults
from gateway.mapping.grammar import compose

SHIPPED = sorted(Path(str(files("mappings"))).rglob("*.yaml"))


def placed(node: yaml.Node) -> list[Any]:
    here: list[Any] = [(node.tag, node.start_mark.line, node.start_mark.column)]
    for part in node.value if not isinstance(node, yaml.ScalarNode) else ():
        for one in part if isinstance(part, tuple) else (part,):
            here += placed(one)
    return here if not isinstance(node, yaml.ScalarNode) else [*here, node.value, node.style or ""]


@pytest.mark.parametrize("file", SHIPPED[::4], ids=lambda file: file.stem)
def test_both_readers_place_every_node_alike(file: Path):
    text = file.read_text("utf-8")
    assert placed(compose(text, "x")) == placed(yaml.compose(text, Loader=yaml.SafeLoader))


def test_a_fault_is_told_as_pyyaml_tells_it():
    with pytest.raises(MappingFaults) as faults:
        compose("a: b\nc: %x\n", "x.yaml")
    (fault,) = faults.value.faults
    assert (fault.line, fault.column) == (2, 4)
    assert "needs quotes" in fault.message
