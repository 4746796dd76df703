"""docs/writing-an-adapter.md, played: its files are written, its commands run, what they print compared.

`python -m tests.walkthrough` writes into the page what the commands print now.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "writing-an-adapter.md"
FENCE = re.compile(r"^```(?P<kind>\w+)(?: title=(?P<title>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def played(text: str, folder: Path) -> str:
    """A page and an empty folder -> the page with what its commands really print."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**kept, "PATH": path, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"GATEWAY_ADAPTERS": "adapters", "GATEWAY_MAPPINGS": "mappings"}
    env["PYTHONPATH"] = str(PAGE.parents[1])

    def one(found: re.Match[str]) -> str:
        if found["title"]:
            file = folder / found["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found["body"], "utf-8")
        elif found["kind"] == "console":
            return f"```console\n{_run(found['body'], folder, env)}```"
        return found.group()

    return FENCE.sub(one, text)


def _run(body: str, folder: Path, env: dict[str, str]) -> str:
    out = ""
    for line in body.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(
                ["bash", "-c", line[2:]],
                cwd=folder,
                env=env,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            out += f"{line}\n{done.stdout}" + "\n" * (done.stdout[-1:] not in ("", "\n"))
    return out


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        PAGE.write_text(played(PAGE.read_text("utf-8"), Path(place)), "utf-8")
