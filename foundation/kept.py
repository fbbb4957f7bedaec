"""Small JSON that is kept between runs and never trusted without its own hash: what is damaged counts as never kept."""

import hashlib
import json
from pathlib import Path
from typing import Any

from foundation.cache import remember

_HASH = "own_sha256"


def write_kept(path: Path, content: dict[str, Any]) -> None:
    """Keep a JSON object at `path`, atomically, with the SHA-256 of what it says; see `remember`."""
    remember(path, json.dumps(content | {_HASH: _sha256_of(content)}, indent=1))


def read_kept(path: Path) -> dict[str, Any] | None:
    """What `write_kept` wrote; None where nothing is kept, or not what was written."""
    try:
        content = json.loads(path.read_text("utf-8"))
        own = content.pop(_HASH)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content if own == _sha256_of(content) else None


def _sha256_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
