"""docs/writing-an-adapter.md is played: a foreign source is added by the commands alone, without Python."""

from pathlib import Path

from tests.walkthrough import FENCE, PAGE, played


def test_what_the_page_shows_is_what_its_commands_print(tmp_path: Path):
    text = PAGE.read_text("utf-8")
    now = played(text, tmp_path)
    assert now == text, "python -m tests.walkthrough writes the page anew"


def test_no_file_of_the_page_is_python(tmp_path: Path):
    assert not [found["title"] for found in FENCE.finditer(PAGE.read_text("utf-8")) if str(found["title"]).endswith(".py")]
