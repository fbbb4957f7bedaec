"""The committed record of measurements: a JSON line each, with the machine, the versions, the date and the command."""

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import provenance

RECORD = Path(__file__).with_name("record.jsonl")


def origin() -> dict[str, Any]:
    """Where figures come from. To be asked for before the first is kept: the record is a file of the clone, too."""
    found = provenance()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", _module(Path(sys.argv[0])), *sys.argv[1:]]),
        **found["git"],
        "cpu": found["hardware"]["cpu"],
        "cores": found["hardware"]["cores"],
        "gpus": [gpu["name"] for gpu in found["hardware"]["gpus"]],
        "python": found["python"],
        "packages": {name: found["packages"][name] for name in ("torch", "transformers", "numpy")},
    }


def _module(path: Path) -> str:
    return f"perf.{path.parent.name if path.stem == '__main__' else path.stem}"


def keep(name: str, figures: dict[str, Any], *, origin: dict[str, Any]) -> None:
    """Append the figures of one measurement to the record."""
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"measurement": name, **origin, "figures": figures}) + "\n")
