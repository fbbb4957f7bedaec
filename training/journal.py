"""train/<arm>.jsonl: one line per step, appended as training goes, cut back to the checkpoint when it resumes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundation import UserError, sync, write_text


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a last line without its end, torn by a kill, is left out.

    Raises:
        UserError: a line is damaged.
    """
    if not path.exists():
        return []
    read: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            try:
                read.append(json.loads(line))
            except ValueError as error:
                raise UserError(
                    f"{path} is damaged in line {len(read) + 1} ({error}); give the same command with another "
                    f"hydra.run.dir"
                ) from error
    return read


class Journal:
    """Appends lines to a journal.

    Args:
        path: the file.
        start: the step that the arm began at.
        step: the step that training goes on from. Lines of it and of later steps, about to be repeated, are dropped.

    Raises:
        UserError: the steps between `start` and `step` are not all there.
    """

    def __init__(self, path: Path, *, start: int, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_journal(path) if line["step"] < step]
        if [line["step"] for line in kept] != list(range(start, step)):
            raise UserError(
                f"{path} holds {len(kept)} steps before the checkpoint at step {step}, expected {step - start}; it is "
                f"not the journal of these checkpoints: remove both, or start in another directory"
            )
        write_text(path, "".join(_line(record) for record in kept))
        self._file = path.open("a", encoding="utf-8")

    def append(self, record: Mapping[str, Any]) -> None:
        self._file.write(_line(record))
        self._file.flush()

    def sync(self) -> None:
        """Return once all lines are on the disk."""
        sync(self._file.fileno())

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
