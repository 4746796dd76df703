"""The examples in the docstrings of every adapter's own functions hold, and none of their files is too long to read."""

import doctest
import importlib.util
from importlib.resources import files
from pathlib import Path

import pytest

FILES = sorted(Path(str(files("mappings"))).glob("*/functions*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_the_examples_of_a_file_of_functions_hold(file: Path) -> None:
    spec = importlib.util.spec_from_file_location(f"examples_of_{file.parent.name}_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tried = doctest.testmod(module)
    assert tried.attempted > 0
    assert tried.failed == 0
    assert len(file.read_text("utf-8").splitlines()) <= 400
