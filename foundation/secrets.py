"""Passwords and tokens, which must stand in no file that a run leaves and in no log."""

import logging
import os
import re
from collections.abc import Iterable

from foundation.errors import UserError

_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY")
_SHORTEST = 8  # a value that is shorter is no token, and would be found in much that is none
_LOGIN = re.compile(r"(?<=://)[^/\s@'\"]+@")  # of https://user:password@host
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")
_SECRET_NAME = re.compile(r"(^|.*[._])(token|api_?key|password|secret)", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """`text` with `***` for logins in addresses, for the hub's tokens, and for those that the environment holds."""
    for name in _VARIABLES:
        if len(value := os.environ.get(name, "").strip()) >= _SHORTEST:
            text = text.replace(value, "***")
    return _HUB_TOKEN.sub("***", _LOGIN.sub("***@", text))


def check_no_secrets(settings: Iterable[tuple[str, str]]) -> None:
    """Raise UserError where a setting (name, value) is or holds a password or token: run.json keeps what is set."""
    for name, value in settings:
        if (value and _SECRET_NAME.fullmatch(name.lstrip("+~"))) or without_secrets(
            f"{name}={value}"
        ) != f"{name}={value}":
            raise UserError(
                f"{without_secrets(name)}=... holds a password or token, which run.json would keep; put logins into "
                f"~/.netrc and tokens into the environment (HF_TOKEN, WANDB_API_KEY)"
            )


class SecretsHidden(logging.Formatter):
    """Formats messages of a log without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
