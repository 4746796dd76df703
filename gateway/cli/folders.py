"""Where the commands of adapter authors look for packages and maps under development."""

from pathlib import Path
from typing import Annotated

import typer

Adapters = Annotated[Path | None, typer.Option(envvar="GATEWAY_ADAPTERS", help="a folder of adapter packages under development")]
Mappings = Annotated[Path | None, typer.Option(envvar="GATEWAY_MAPPINGS", help="a mappings folder; default: the shipped one")]
