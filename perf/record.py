"""The committed record of measurements: a JSON line each, with the machine, the versions, the date and the command."""

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import provenance

RECORD = Path(__file__).with_name("record.jsonl")


def keep(name: str, figures: dict[str, Any]) -> None:
    """Append the figures of one measurement to the record."""
    origin = provenance()
    entry = {
        "measurement": name,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", *_module()]),
        "commit": origin["git"]["commit"],
        "dirty": origin["git"]["dirty"],
        "cpu": origin["hardware"]["cpu"],
        "cores": origin["hardware"]["cores"],
        "gpus": [gpu["name"] for gpu in origin["hardware"]["gpus"]],
        "python": origin["python"],
        "packages": {name: origin["packages"][name] for name in ("torch", "transformers", "numpy")},
        "figures": figures,
    }
    with RECORD.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _module() -> list[str]:
    module = Path(sys.argv[0]).stem
    return [f"perf.{module}", *sys.argv[1:]]
