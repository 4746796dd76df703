"""docs/writing-an-adapter.md, played: its files are written, its commands run, what they print compared.

`python -m tests.walkthrough` writes into the page what the commands print now. Its blocks `console live` serve a real gateway
beside a sandbox and ask it: tests/e2e/test_added_source.py plays these, and `--live` writes them too.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "writing-an-adapter.md"
FENCE = re.compile(r"^```(?P<kind>\w+)(?: title=(?P<title>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)

LIVE = re.compile(r"^```console live\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "@@"


def played(text: str, folder: Path) -> str:
    """A page and an empty folder -> the page with what its commands really print."""
    env = environment()

    def one(found: re.Match[str]) -> str:
        if found["title"]:
            file = folder / found["title"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(found["body"], "utf-8")
        elif found["kind"] == "console":
            return f"```console\n{_run(found['body'], folder, env)}```"
        return found.group()

    return FENCE.sub(one, text)


def live(text: str, folder: Path, *, pds: str, port: int) -> str:
    """A page that was played in `folder` -> its live blocks with what they really print: one shell for all of them."""
    base = f"http://127.0.0.1:{port}"
    own = {"GATEWAY_PDS__BASE_URL": pds, "GATEWAY_PORT": str(port), "GATEWAY_OPERATIONS_PORT": str(port + 1), "BASE": base}
    ready = f"until curl -sf http://127.0.0.1:{port + 1}/ready > /dev/null || ! kill -0 $!; do sleep 0.1; done"
    script = ["exec 2>&1", "trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT"]
    for line in [line for found in LIVE.finditer(text) for line in found["body"].splitlines() if line.startswith("$ ")]:
        command = line[2:]
        if command == "gateway serve &":
            command = f"gateway serve > served 2>&1 &\n{ready}"
        elif command.startswith("kill "):
            command += "; wait"
        script += [f"printf '%s\\n' {shlex.quote(MARK + line)}", command]
    env = {**environment(), **own}
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, env=env, text=True, stdout=subprocess.PIPE, check=False, timeout=300
    )
    said = iter(re.split(f"^{MARK}", done.stdout, flags=re.MULTILINE)[1:])

    def one(found: re.Match[str]) -> str:
        count = sum(line.startswith("$ ") for line in found["body"].splitlines())
        return f"```console live\n{''.join(next(said, '') for _ in range(count))}```"

    return LIVE.sub(one, text)


def environment() -> dict[str, str]:
    """The shell's, with this gateway's command and none of its settings but where the author's files are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**kept, "PATH": path, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"GATEWAY_ADAPTERS": "adapters", "GATEWAY_MAPPINGS": "mappings"}
    env["PYTHONPATH"] = str(PAGE.parents[1])
    return env


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
        page = played(PAGE.read_text("utf-8"), Path(place))
        if "--live" in sys.argv:
            sandbox_port, port = 9471, 9473
            command = [sys.executable, "-m", "sandbox", "--port", str(sandbox_port), "--var", f"{place}/sandbox"]
            with subprocess.Popen([*command, "--drops", f"{place}/drops"]) as sandbox:
                time.sleep(3)
                pds = f"http://127.0.0.1:{sandbox_port}/pds/personal-demographics/FHIR/R4"
                page = live(page, Path(place), pds=pds, port=port)
                sandbox.terminate()
        PAGE.write_text(page, "utf-8")
