"""Whole runs of run.py on a miniature suite and invented text, on a CPU and without network.

The fixtures `workshop` and `finished` of conftest.py are where they happen, and one that is done.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def smoke(workshop, *arguments, script="run.py", text="text.txt", launcher=(sys.executable,)):
    if text is not None:
        arguments = (*arguments, f"corpus.text={workshop / text}")
    return subprocess.run(
        [*launcher, *script.split(), *arguments, "experiment=smoke"],
        cwd=ROOT / "tests" if script.startswith("killed_run.py") else ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(workshop / "cache"), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def results(directory):
    rows = {path.relative_to(directory): path.read_bytes() for path in sorted((directory / "rows").rglob("*.parquet"))}
    return {"rows": rows, "summary": (directory / "summary.csv").read_bytes()}
