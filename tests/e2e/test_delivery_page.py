"""docs/delivery.md does what it says: its commands are run as they are printed, beside the running place."""

import json
import os
import re
import subprocess
from pathlib import Path

from whole_place import ROOT, World, eventually, holds_a_number

from sandbox.demo import GATEWAY


def commands(page: str) -> list[str]:
    """Every block of the page that is to be run."""
    return re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)


def test_the_example_of_a_delivery_works_as_printed(world: World) -> None:
    place = world.place
    script = "\necho\n".join(commands("docs/delivery.md"))
    for printed, here in (("http://127.0.0.1:8000", place.base), ("var/demo", str(place.folder))):
        assert printed in script
        script = script.replace(printed, here)
    environment = {**os.environ, "PATH": f"{Path(GATEWAY).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euc", script]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    sent, state, receipt, why, *explained, back = filter(None, done.stdout.splitlines())
    assert (json.loads(sent)["status"], json.loads(sent)["owner"]["display"]) == ("requested", "Willow Children's Centre")
    assert json.loads(state)["id"] == json.loads(sent)["id"]
    assert [event["detail"]["parcel"] for event in world.events(kind="submission")].count(json.loads(sent)["id"]) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", receipt)
    assert "[health-sends-referral]" in why
    assert "The log says it was decided by:" in explained
    assert holds_a_number(done.stdout) is None
    if json.loads(state)["status"] == "completed":  # the place may be slow: then there was nothing to call back yet
        recall = json.loads(back)
        assert recall["code"] == {"text": "Recall of a delivery"}
        eventually(lambda: world.ask_database("select state from parcel where id = ?", recall["id"]) == [("acknowledged",)])
    else:
        assert json.loads(back)["status"] == "cancelled"
