"""Byte ranges of files on a web server, over links that fail.

Why not `HfFileSystem`: it holds a whole range in memory, begins a broken one anew, and does not look whether the answer
is the range that was asked for. Here a range comes as a stream that goes on at the byte where it broke, every answer is
held against the question, and a server that says when to come back is obeyed.
"""

import email.utils
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
import urllib3
from huggingface_hub.utils import parse_ratelimit_headers

from foundation import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_PIECE_BYTES = 1 << 20
_SHORT_ANSWER_BYTES = 1 << 16  # a server may send less than was asked for, but not so little that it never ends


@dataclass(frozen=True)
class Patience:
    """How long a link that fails is tried again.

    Attributes:
        tries: failures in a row, with less than `progress_bytes` between them, that end it.
        first_contact_tries: the same before a server has answered anything: one that cannot be reached is told soon.
        first_delay_s: wait after the first failure; doubled after each further one.
        longest_delay_s: the longest such wait.
        longest_request_s: the longest wait that a server may ask for (Retry-After, RateLimit).
        timeout_s: a server that says nothing for so long has failed.
        progress_bytes: when so much has come, failures count anew.
    """

    tries: int = 8
    first_contact_tries: int = 3
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_request_s: float = 900.0
    timeout_s: float = 30.0
    progress_bytes: int = 1 << 20


class Passing(Exception):
    """An answer that may be another one next time; `wait_s` is how long the server asks to wait."""

    def __init__(self, message: str, *, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


_MAY_PASS = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, Passing)
_FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, Passing)


@dataclass
class RangeClient:
    """Asks a server for sizes and ranges; safe for several threads, which share what a server says about waiting.

    Attributes:
        headers: makes what is sent with every request to the files' own host. A redirect to another host does not get
            the authorization; without one, ~/.netrc is asked.
    """

    headers: Callable[[], Mapping[str, str]] = dict
    patience: Patience = field(default_factory=Patience)
    _not_before: float = field(default=0.0, init=False)
    _has_answered: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def describe(self, url: str) -> tuple[int, str]:
        """Size of a file in bytes, and what its server says tells this version from others (ETag, Last-Modified).

        Raises:
            UserError: there is no such file, it is refused, or the server does not tell its size and version.
        """

        def ask() -> requests.Response:
            response = requests.head(url, **self._options(), allow_redirects=True)
            _check_status(response, url, expected=200)
            return response

        response = self.retrying(url, ask)
        length, version = response.headers.get("Content-Length", ""), _version(response)
        if not _is_number(length) or not version:
            lacking = "its version (ETag or Last-Modified)" if _is_number(length) else "the size of the file"
            raise UserError(f"{url}: the server does not tell {lacking}; download it and name the local copy")
        return int(length), version

    def retrying(self, what: str, ask: Callable[[], T]) -> T:
        """What `ask` returns, asked again while it fails in a way that may pass.

        Raises:
            UserError: it failed too often.
        """
        failures = 0
        while True:
            try:
                self._wait_for_server()
                answer = ask()
            except _FAILURES as error:
                failures = self._failed(what, error, failures)
            else:
                self._has_answered = True
                return answer

    def stream(self, url: str, start: int, stop: int, *, size: int, version: str | None = None) -> Iterator[bytes]:
        """Bytes [start, stop) of a file, in order, in pieces as they come.

        Args:
            size: of the whole file, which every answer must confirm.
            version: that `describe` told, which every answer must confirm; None where an address has but one content.

        Raises:
            UserError: the file is not there, is refused, has changed, or the link failed too often.
        """
        position, failures, counted_from = start, 0, start
        while position < stop:
            try:
                self._wait_for_server()
                for piece in self._answer(url, position, stop, size=size, version=version):
                    yield piece
                    position += len(piece)
            except _FAILURES as error:
                if position - counted_from >= self.patience.progress_bytes:
                    failures, counted_from = 0, position
                failures = self._failed(url, error, failures)

    def _answer(self, url: str, start: int, stop: int, *, size: int, version: str | None) -> Iterator[bytes]:
        """The pieces of one answer, which may be for less than was asked, but not for other bytes."""
        with requests.get(url, **self._options(Range=f"bytes={start}-{stop - 1}"), stream=True) as response:
            if response.status_code == 416:
                raise UserError(
                    f"{url} ends before byte {stop}, but was said to have {size}; it changed, or the server lied about "
                    f"its length: start again, or take another mirror"
                )
            _check_status(response, url, expected=206)
            answered_stop = _check_range(response, url, start, stop, size=size, version=version)
            self._has_answered = True
            left = answered_stop - start
            # `iter_content` would gather a piece before it gives it, and lose what it gathered when the link breaks
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
                left -= len(piece)
                if left < 0:
                    raise Passing(f"the answer holds more than the {answered_stop - start} bytes it announced")
                yield piece
            if left:
                raise Passing(f"the answer ended {left} bytes early")

    def _options(self, **more: str) -> dict[str, Any]:
        """What every request is made with."""
        headers = {**self.headers(), "Accept-Encoding": "identity", **more}
        options: dict[str, Any] = {"headers": headers, "timeout": self.patience.timeout_s}
        if any(name.lower() == "authorization" for name in headers):
            options["auth"] = _unchanged  # else requests would put what ~/.netrc says in its place
        return options

    def _wait_for_server(self) -> None:
        while (wait := self._not_before - time.monotonic()) > 0:
            time.sleep(wait)

    def _failed(self, what: str, error: Exception, failures: int) -> int:
        """Wait as long as it takes until the next try; the number of failures, this one included.

        Raises:
            UserError: it was the last try, or no other would end otherwise.
        """
        if not isinstance(error, _MAY_PASS):
            raise UserError(f"{what} cannot be asked for ({error}); check the address") from error
        failures += 1
        asked = error.wait_s if isinstance(error, Passing) else None
        self._has_answered |= isinstance(error, Passing)
        tries = self.patience.tries if self._has_answered else self.patience.first_contact_tries
        if failures >= tries or (asked or 0) > self.patience.longest_request_s:
            wish = f", and asks for {asked:.0f} s of patience" if asked else ""
            raise UserError(
                f"{what} failed {failures} times in a row (last: {_reason(error)}){wish}; check the address and the "
                f"network: what has come is kept, and the same command goes on from there"
            ) from error
        delay = min(self.patience.first_delay_s * 2 ** (failures - 1), self.patience.longest_delay_s)
        if asked is not None:
            delay = max(delay, asked)
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + asked)
        log.info("%s: %s; trying again in %.0f s", what, _reason(error), delay)
        time.sleep(delay)
        return failures


def is_passing(status: int) -> bool:
    """Whether a server that answers so may answer otherwise next time: not where it cannot do a thing at all."""
    return status in (408, 425, 429) or (500 <= status < 600 and status not in (501, 505))


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: Retry-After as seconds or as a date, or the hub's RateLimit."""
    said = headers.get("Retry-After", "").strip()
    if _is_number(said):
        return float(said)
    if said:
        try:
            until = email.utils.parsedate_to_datetime(said)
        except ValueError:
            return None
        aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None else None


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _version(response: requests.Response) -> str:
    return response.headers.get("ETag") or response.headers.get("Last-Modified") or ""


def _check_status(response: requests.Response, url: str, *, expected: int) -> None:
    status = response.status_code
    if status == expected:
        return
    if is_passing(status):
        raise Passing(f"the server answered {status}", wait_s=asked_wait(response.headers))
    if status in (401, 403):
        raise UserError(f"{url}: the server refuses it ({status}); log in (HF_TOKEN for the hub) or ask for access")
    if status in (404, 410):
        raise UserError(f"{url}: there is no such file ({status}); check the location and the revision")
    if status == 200:
        raise UserError(f"{url}: the server sends whole files only, no ranges; download it and name the local copy")
    raise UserError(f"{url}: the server answered {status}, expected {expected}; check the location")


def _check_range(
    response: requests.Response, url: str, start: int, stop: int, *, size: int, version: str | None
) -> int:
    """Where the answered range stops; a server may send less than was asked for, never other bytes."""
    said = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said)
    if match is None:
        raise Passing(f"the answer names its range as {said!r}")
    first, last, total = map(int, match.groups())
    if total != size:
        raise UserError(
            f"{url} has {total} bytes now, but had {size} when it was opened; it changed meanwhile: start again"
        )
    if version is not None and _version(response) != version:
        raise UserError(
            f"{url} is of version {_version(response)} now, but was of {version} when it was opened; it changed "
            f"meanwhile: start again"
        )
    if first != start or not min(start + _SHORT_ANSWER_BYTES, stop) <= last + 1 <= stop:
        raise Passing(f"the answer holds bytes {first} to {last}, asked for were {start} to {stop - 1}")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(last + 1 - first):
        raise Passing(f"the answer announces {length} bytes for the range {said}")
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UserError(f"{url}: the server encodes what it sends ({encoding}); take another")
    return last + 1


def _reason(error: Exception) -> str:
    """A failure in a few words; the text of a connection error names internals of the libraries."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, Passing):
        return str(error)
    return "the connection failed"
