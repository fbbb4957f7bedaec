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

import requests
import urllib3
from huggingface_hub.utils import parse_ratelimit_headers

from foundation import UserError

log = logging.getLogger(__name__)

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Patience:
    """How long a link that fails is tried again.

    Attributes:
        tries: failures in a row, none of them with progress between, that end it.
        first_contact_tries: the same before anything has come at all: a host that cannot be reached is told at once.
        first_delay_s: wait after the first failure; doubled after each further one.
        longest_delay_s: the longest such wait.
        longest_request_s: the longest wait that a server may ask for (Retry-After, RateLimit).
        timeout_s: a server that says nothing for so long has failed.
        progress_bytes: so much must come before failures count anew.
    """

    tries: int = 8
    first_contact_tries: int = 3
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_request_s: float = 900.0
    timeout_s: float = 30.0
    progress_bytes: int = 1 << 20


class _Passing(Exception):
    """An answer that may be another one next time."""

    def __init__(self, message: str, *, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


_FAILURES = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError, _Passing)


@dataclass
class RangeClient:
    """Asks a server for sizes and ranges; safe for several threads, which share what a server says about waiting.

    Attributes:
        headers: makes what is sent with every request to the files' own host (a redirect to another host does not get
            the authorization).
    """

    headers: Callable[[], Mapping[str, str]] = dict
    patience: Patience = field(default_factory=Patience)
    _not_before: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def describe(self, url: str) -> tuple[int, str]:
        """Size of a file in bytes, and what its server says tells this version from others (ETag, Last-Modified).

        Raises:
            UserError: there is no such file, it is refused, or the server does not tell its size.
        """
        failures = 0
        while True:
            try:
                self._wait_for_server()
                response = requests.head(
                    url, headers=self._headers(), timeout=self.patience.timeout_s, allow_redirects=True
                )
                _check_status(response, url, expected=200)
                break
            except _FAILURES as error:
                failures = self._failed(url, error, failures, tries=self.patience.first_contact_tries)
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            raise UserError(
                f"{url}: the server does not tell the size of the file; download it and name the local copy"
            )
        return int(length), response.headers.get("ETag") or response.headers.get("Last-Modified") or ""

    def stream(self, url: str, start: int, stop: int, *, size: int) -> Iterator[bytes]:
        """Bytes [start, stop) of a file, in order, in pieces as they come.

        Args:
            size: of the whole file, which every answer must confirm.

        Raises:
            UserError: the file is not there, is refused, has another size, or the link failed too often.
        """
        position, failures, counted_from = start, 0, start
        while position < stop:
            try:
                self._wait_for_server()
                for piece in self._answer(url, position, stop, size=size):
                    yield piece
                    position += len(piece)
                if position < stop:
                    raise _Passing(f"the answer ended at byte {position}, before {stop}")
            except _FAILURES as error:
                if position - counted_from >= self.patience.progress_bytes:
                    failures, counted_from = 0, position
                failures = self._failed(url, error, failures, tries=self.patience.tries)

    def _answer(self, url: str, start: int, stop: int, *, size: int) -> Iterator[bytes]:
        """The pieces of one answer, which may end early but never holds more or other bytes than were asked for."""
        asked = {"Range": f"bytes={start}-{stop - 1}"}
        with requests.get(
            url, headers=self._headers() | asked, timeout=self.patience.timeout_s, stream=True
        ) as response:
            if response.status_code == 416:
                raise UserError(
                    f"{url} ends before byte {stop}, but was said to have {size}; it changed, or the server lied about "
                    f"its length: start again, or take another mirror"
                )
            _check_status(response, url, expected=206)
            answered_stop = _check_range(response, url, start, stop, size=size)
            left = answered_stop - start
            # `iter_content` would gather a piece before it gives it, and lose what it gathered when the link breaks
            while piece := response.raw.read1(_PIECE_BYTES, decode_content=False):
                left -= len(piece)
                if left < 0:
                    raise _Passing(f"the answer holds more than the {answered_stop - start} bytes it announced")
                yield piece

    def _headers(self) -> dict[str, str]:
        return {**self.headers(), "Accept-Encoding": "identity"}

    def _wait_for_server(self) -> None:
        while (wait := self._not_before - time.monotonic()) > 0:
            time.sleep(wait)

    def _failed(self, url: str, error: Exception, failures: int, *, tries: int) -> int:
        """Wait as long as it takes until the next try; the number of failures, this one included.

        Raises:
            UserError: it was the last try.
        """
        failures += 1
        asked = error.wait_s if isinstance(error, _Passing) else None
        if failures >= tries or (asked or 0) > self.patience.longest_request_s:
            wish = f", and asks for {asked:.0f} s of patience" if asked else ""
            raise UserError(
                f"{url} failed {failures} times in a row (last: {_reason(error)}){wish}; check the address and the "
                f"network: what has come is kept, and the same command goes on from there"
            ) from error
        delay = min(self.patience.first_delay_s * 2 ** (failures - 1), self.patience.longest_delay_s)
        if asked is not None:
            delay = max(delay, asked)
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + asked)
        log.info("%s: %s; trying again in %.0f s", url, _reason(error), delay)
        time.sleep(delay)
        return failures


def _check_status(response: requests.Response, url: str, *, expected: int) -> None:
    status = response.status_code
    if status == expected:
        return
    if status in _PASSING:
        raise _Passing(f"the server answered {status}", wait_s=_asked_wait(response.headers))
    if status in (401, 403):
        raise UserError(f"{url}: the server refuses it ({status}); log in (HF_TOKEN for the hub) or ask for access")
    if status in (404, 410):
        raise UserError(f"{url}: there is no such file ({status}); check the location and the revision")
    if status == 200:
        raise UserError(f"{url}: the server sends whole files only, no ranges; download it and name the local copy")
    raise UserError(f"{url}: the server answered {status}, expected {expected}; check the location")


def _check_range(response: requests.Response, url: str, start: int, stop: int, *, size: int) -> int:
    """Where the answered range stops; a server may send less than was asked for, never other bytes."""
    said = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said)
    if match is None:
        raise _Passing(f"the answer names its range as {said!r}")
    first, last, total = map(int, match.groups())
    if total != size:
        raise UserError(
            f"{url} has {total} bytes now, but had {size} when it was opened; it changed meanwhile: start again"
        )
    if first != start or not start <= last < stop:
        raise _Passing(f"the answer holds bytes {first} to {last}, asked for were {start} to {stop - 1}")
    length = response.headers.get("Content-Length")
    if length is not None and length != str(last + 1 - first):
        raise _Passing(f"the answer announces {length} bytes for the range {said}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(
            f"{url}: the server encodes what it sends ({response.headers['Content-Encoding']}); take another"
        )
    return last + 1


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: Retry-After as seconds or as a date, or the hub's RateLimit."""
    said = headers.get("Retry-After", "").strip()
    if said.isdigit():
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


def _reason(error: Exception) -> str:
    """A failure in a few words; the text of a connection error names internals of the libraries."""
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, _Passing):
        return str(error)
    return "the connection failed"
