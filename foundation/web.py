"""The one HTTP client: documents and byte ranges over links that fail, with one policy for all servers.

A range comes as a stream that goes on at the byte where it broke, every answer is held against the question, and a
server that says when to come back is obeyed. What is behind a redirect, as the hub's storage behind its signed
addresses, may refuse for a moment: its address is then asked for again, which signs a new one. The authorization goes
to the host that was asked and to no other.
"""

import atexit
import contextlib
import email.utils
import functools
import logging
import netrc
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx2

from foundation.errors import UserError

log = logging.getLogger(__name__)

T = TypeVar("T")

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_LIMIT = re.compile(r"\b([rt])\s*=\s*(\d+)", re.ASCII)
_SHORT_ANSWER_BYTES = 1 << 16  # a server may send less than was asked for, but not so little that it never ends
_LARGEST_DOCUMENT_BYTES = 256 << 20


@dataclass(frozen=True)
class Patience:
    """How long a link that fails is tried again.

    Attributes:
        tries: failures in a row, with less than `progress_bytes` between them, that end it.
        first_contact_tries: the same before a host has answered anything: one that cannot be reached is told soon.
        first_contact_s: or after so long, if that is sooner.
        first_delay_s: wait after the first failure; doubled after each further one.
        longest_delay_s: the longest such wait.
        longest_request_s: the longest wait that a server may ask for (Retry-After, RateLimit).
        connect_s: a host that does not take a connection for so long has failed.
        timeout_s: a server that says nothing for so long has failed.
        document_s: a document that takes longer has failed.
        slowest_bytes_per_s: a stream that is slower, over `timeout_s`, has failed.
        progress_bytes: when so much has come, failures count anew.
        silence_s: a host that could not be reached is not asked again for so long.
    """

    tries: int = 8
    first_contact_tries: int = 3
    first_contact_s: float = 10.0
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    longest_request_s: float = 900.0
    connect_s: float = 5.0
    timeout_s: float = 30.0
    document_s: float = 120.0
    slowest_bytes_per_s: float = 256.0
    progress_bytes: int = 1 << 20
    silence_s: float = 600.0


class OutOfReach(UserError):
    """A server does not answer, or only with failures that may pass; `reason` says so in a few words."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class Refused(UserError):
    """A server answered that it will not or cannot; `code` is what the hub calls the reason."""

    def __init__(self, message: str, *, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Passing(Exception):
    """An answer that may be another one next time; `wait_s` is how long the server asks to wait."""

    def __init__(self, message: str, *, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, _Passing)
_NO_HEADER = "{} cannot be asked for: what is sent with it has a character that no header may have; check HF_TOKEN"
_DEFINITE = (httpx2.UnsupportedProtocol, httpx2.TooManyRedirects, httpx2.InvalidURL, httpx2.LocalProtocolError)


@dataclass
class _Host:
    """What is known of a host in this process."""

    has_answered: bool = False
    not_before: float = 0.0
    silent_until: float = 0.0


_hosts: dict[str, _Host] = {}
_lock = threading.Lock()
_session: httpx2.Client | None = None


def forget_hosts() -> None:
    """Let every host count as never asked."""
    with _lock:
        _hosts.clear()


@dataclass
class _Failures:
    """The failures of one request, or of one stream, in a row."""

    what: str
    host: _Host
    patience: Patience
    count: int = 0
    began: float = field(default_factory=time.monotonic)

    def wait(self, error: Exception) -> None:
        """Wait as long as it takes until the next try.

        Raises:
            OutOfReach: it was the last try.
            UserError: no other would end otherwise.
        """
        if isinstance(error, httpx2.LocalProtocolError):  # its text holds the header, which may be a secret
            raise UserError(_NO_HEADER.format(self.what)) from None
        if isinstance(error, _DEFINITE):
            raise UserError(f"{self.what} cannot be asked for ({error}); check the address") from error
        self.count += 1
        asked = error.wait_s if isinstance(error, _Passing) else None
        delay = min(self.patience.first_delay_s * 2 ** (self.count - 1), self.patience.longest_delay_s)
        if self._is_last() or (asked or 0) > self.patience.longest_request_s:
            if not self.host.has_answered:
                self.host.silent_until = time.monotonic() + self.patience.silence_s
            wish = f", and asks for {asked:.0f} s of patience" if asked else ""
            reason = f"failed {self.count} times in a row (last: {_reason(error)}){wish}"
            raise OutOfReach(
                f"{self.what} {reason}; check the address and the network: what has come is kept, and the same command "
                f"goes on from there",
                reason=f"it {reason}",
            ) from error
        if asked is not None:
            delay = max(delay, asked)
            with _lock:
                self.host.not_before = max(self.host.not_before, time.monotonic() + asked)
        told = logging.INFO if self.host.has_answered and delay >= 1 else logging.DEBUG
        log.log(told, "%s: %s; trying again in %.0f s", self.what, _reason(error), delay)
        time.sleep(delay)

    def _is_last(self) -> bool:
        if self.host.has_answered:
            return self.count >= self.patience.tries
        waited = time.monotonic() - self.began
        return self.count >= self.patience.first_contact_tries or waited >= self.patience.first_contact_s


@dataclass(frozen=True)
class Client:
    """Asks servers; safe for several threads, which share what a server says about waiting.

    Attributes:
        headers: makes what is sent with every request to the host that is asked. A redirect to another host does not
            get the authorization; without one, ~/.netrc is asked.
        patience: None is the default as it is when a request is made.
    """

    headers: Callable[[], Mapping[str, str]] = dict
    patience: Patience | None = None

    def describe(self, url: str) -> tuple[int, str]:
        """Size of a file in bytes, and what its server says tells this version from others (ETag, Last-Modified).

        Raises:
            UserError: there is no such file, it is refused, or the server does not tell its size and version.
        """

        def ask() -> httpx2.Headers:
            with self._asked("HEAD", url) as response:
                _check_status(response, url, expected=200)
                return response.headers

        headers = self._retrying(url, ask)
        length, version = headers.get("Content-Length", ""), _version(headers)
        if not _is_number(length) or not version:
            lacking = "its version (ETag or Last-Modified)" if _is_number(length) else "the size of the file"
            raise UserError(f"{url}: the server does not tell {lacking}; download it and name the local copy")
        return int(length), version

    def get(self, url: str) -> bytes:
        """A document, whole.

        Raises:
            OutOfReach: the server does not answer, or only with failures that may pass.
            Refused: it answers with anything but the document.
        """

        def ask() -> bytes:
            began, content = time.monotonic(), bytearray()
            with self._asked("GET", url) as response:
                _check_status(response, url, expected=200)
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > _LARGEST_DOCUMENT_BYTES:
                        raise UserError(f"{url} is larger than {_LARGEST_DOCUMENT_BYTES >> 20} MiB: not what is meant")
                    if time.monotonic() - began > self._patience.document_s:
                        raise _Passing(f"it did not come within {self._patience.document_s:.0f} s")
            return bytes(content)

        return self._retrying(url, ask)

    def stream(
        self, url: str, start: int, stop: int, *, size: int, version: str | None = None, whole: bool = False
    ) -> Iterator[bytes]:
        """Bytes [start, stop) of a file, in order, in pieces as they come.

        Args:
            size: of the whole file, which every answer must confirm.
            version: that `describe` told, which every answer must confirm; None where an address has but one content.
            whole: take an answer with the whole file too, from a server that knows no ranges.

        Raises:
            UserError: the file is not there, is refused, has changed, or the link failed too often.
        """
        position, counted_from, failures = start, start, self._failures(url)
        while position < stop:
            try:
                _wait_for(failures.host, url)
                for piece in self._answer(url, position, stop, size=size, version=version, whole=whole):
                    yield piece
                    position += len(piece)
            except _FAILURES as error:
                if position - counted_from >= self._patience.progress_bytes:
                    counted_from, failures = position, self._failures(url)
                _note_answer(failures.host, url, error)
                failures.wait(error)

    @property
    def _patience(self) -> Patience:
        return self.patience or Patience()

    def _failures(self, url: str) -> _Failures:
        return _Failures(url, _host(url), self._patience)

    def _retrying(self, url: str, ask: Callable[[], T]) -> T:
        """What `ask` returns, asked again while it fails in a way that may pass."""
        failures = self._failures(url)
        while True:
            try:
                _wait_for(failures.host, url)
                return ask()
            except _FAILURES as error:
                _note_answer(failures.host, url, error)
                failures.wait(error)

    @contextlib.contextmanager
    def _asked(self, method: str, url: str, **more: str) -> Iterator[httpx2.Response]:
        """One answer, its body still to come."""
        headers = {**self.headers(), "Accept-Encoding": "identity", **more}
        authorized = any(name.lower() == "authorization" for name in headers)
        timeout = httpx2.Timeout(self._patience.timeout_s, connect=self._patience.connect_s)
        session = _open_session()
        try:
            request = session.build_request(method, url, headers=headers, timeout=timeout)
        except UnicodeEncodeError:  # its text holds the header, which may be a secret
            raise UserError(_NO_HEADER.format(url)) from None
        response = session.send(request, stream=True, auth=None if authorized else _netrc_auth())
        _host(url).has_answered = True
        try:
            yield response
        finally:
            response.close()

    def _answer(
        self, url: str, start: int, stop: int, *, size: int, version: str | None, whole: bool
    ) -> Iterator[bytes]:
        """The pieces of one answer, which may be for less than was asked, but not for other bytes."""
        with self._asked("GET", url, Range=f"bytes={start}-{stop - 1}") as response:
            if response.status_code == 416:
                raise UserError(
                    f"{url} ends before byte {stop}, but was said to have {size}; it changed, or the server lied about "
                    f"its length: start again, or take another mirror"
                )
            if whole and response.status_code == 200:
                yield from self._part_of_whole(response, start, stop, size=size)
                return
            _check_status(response, url, expected=206)
            left = _check_range(response, url, start, stop, size=size, version=version) - start
            announced = left
            for piece in self._pieces(response):
                left -= len(piece)
                if left < 0:
                    raise _Passing(f"the answer holds more than the {announced} bytes it announced")
                yield piece
            if left:
                raise _Passing(f"the answer ended {left} bytes early")

    def _part_of_whole(self, response: httpx2.Response, start: int, stop: int, *, size: int) -> Iterator[bytes]:
        """Bytes [start, stop) of an answer that holds the whole file."""
        _check_whole(response, size)
        position = 0
        for piece in self._pieces(response):
            part = piece[max(0, start - position) : max(0, stop - position)]
            position += len(piece)
            if part:
                yield part
        if position > size:
            raise _Passing(f"the answer holds more than the {size} bytes of the file")
        if position < stop:
            raise _Passing(f"the answer ended {stop - position} bytes early")

    def _pieces(self, response: httpx2.Response) -> Iterator[bytes]:
        """What comes, as it comes; a server that only trickles has failed."""
        began, came = time.monotonic(), 0
        for piece in response.iter_raw():
            came += len(piece)
            yield piece
            lasted = time.monotonic() - began
            if lasted > self._patience.timeout_s:
                if came < self._patience.slowest_bytes_per_s * lasted:
                    raise _Passing(f"the server sent {came} bytes in {lasted:.0f} s")
                began, came = time.monotonic(), 0


def _open_session() -> httpx2.Client:
    """The connections of this process."""
    global _session
    with _lock:
        if _session is None:
            try:
                _session = httpx2.Client(follow_redirects=True)
            except (ImportError, ValueError, OSError) as error:
                raise UserError(
                    f"the network's settings cannot be used ({error}); check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and "
                    f"SSL_CERT_FILE; a proxy is http://HOST:PORT, or socks5://HOST:PORT with pip install socksio"
                ) from error
        return _session


def _close_session() -> None:
    global _session
    session, _session = _session, None
    if session is not None:
        session.close()


def _begin_anew() -> None:
    """In a forked process: connections and locks are the parent's."""
    global _session, _lock
    _session, _lock = None, threading.Lock()


atexit.register(_close_session)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _netrc_auth() -> httpx2.Auth | None:
    try:
        path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
        changed = path.stat().st_mtime_ns
    except (RuntimeError, OSError):  # there is no home directory, or nothing there that may be looked at
        return None
    return _auth_from(path, changed) if path.is_file() else None


@functools.cache
def _auth_from(path: Path, _mtime_ns: int) -> httpx2.Auth | None:
    try:
        return httpx2.NetRCAuth(str(path))
    except (netrc.NetrcParseError, OSError) as error:
        log.warning("%s is not used, as it cannot be read (%s)", path, error)
        return None


def _host(url: str) -> _Host:
    name = _netloc(url)
    with _lock:
        return _hosts.setdefault(name, _Host())


def _netloc(url: str) -> str:
    """Host and port, written as those of an answer are."""
    try:
        return httpx2.URL(url).netloc.decode("ascii")
    except httpx2.InvalidURL:
        return url


def _wait_for(host: _Host, url: str) -> None:
    """Wait until the host may be asked.

    Raises:
        OutOfReach: it did not answer just now.
    """
    if host.silent_until > time.monotonic():
        raise OutOfReach(f"{url}: the host did not answer before; check the network", reason="it did not answer before")
    while (wait := host.not_before - time.monotonic()) > 0:
        time.sleep(wait)


def _note_answer(host: _Host, url: str, error: Exception) -> None:
    """A host that redirected to another one, which failed, has answered itself."""
    if isinstance(error, httpx2.RequestError) and error.request.url.netloc.decode("ascii") != _netloc(url):
        host.has_answered = True


def is_passing(status: int) -> bool:
    """Whether a server that answers so may answer otherwise next time: not where it cannot do a thing at all."""
    return status in (408, 425, 429) or (500 <= status < 600 and status not in (501, 505))


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: Retry-After as seconds or as a date, or the hub's RateLimit when used up."""
    said = headers.get("Retry-After", "").strip()
    if _is_number(said):
        return float(said)
    with contextlib.suppress(ValueError):
        until = email.utils.parsedate_to_datetime(said)
        aware = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        return max(0.0, (aware - datetime.now(UTC)).total_seconds())
    limits = [dict(_LIMIT.findall(limit)) for limit in headers.get("RateLimit", "").split(",")]
    used_up = [limit for limit in limits if limit.keys() == {"r", "t"} and not limit["r"].strip("0")]
    return max((float(limit["t"]) for limit in used_up), default=None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _version(headers: httpx2.Headers) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


def _check_status(response: httpx2.Response, url: str, *, expected: int) -> None:
    status, headers = response.status_code, response.headers
    if status == expected:
        return
    answered_by, code = response.url.netloc.decode("ascii"), headers.get("X-Error-Code", "")
    if answered_by != _netloc(url) and 400 <= status < 600 and not code:
        raise _Passing(f"{answered_by}, where it is stored, answered {status}", wait_s=asked_wait(headers))
    if is_passing(status):
        raise _Passing(f"the server answered {status}", wait_s=asked_wait(headers))
    reason = f"the server answered {status}, expected {expected}; check the location"
    if status in (401, 403):
        reason = f"the server refuses it ({status}); log in (HF_TOKEN for the hub) or ask for access"
    if status in (404, 410):
        reason = f"there is no such file ({status}); check the location and the revision"
    if status == 200:
        reason = "the server sends whole files only, no ranges; download it and name the local copy"
    raise Refused(f"{url}: {reason}", status=status, code=code)


def _check_whole(response: httpx2.Response, size: int) -> None:
    """Raise where an answer is not the whole file, but a page that asks to log in, or tells of a fault."""
    headers = response.headers
    length, encoding = headers.get("Content-Length", str(size)), headers.get("Content-Encoding", "identity")
    kind = headers.get("Content-Type", "").partition(";")[0] or "no kind"
    if length != str(size):
        raise _Passing(
            f"the server sent {length} bytes of {kind}, but the file has {size}: is a page to log in before it?"
        )
    if encoding.lower() != "identity":
        raise _Passing(f"the server encodes what it sends ({encoding})")


def _check_range(response: httpx2.Response, url: str, start: int, stop: int, *, size: int, version: str | None) -> int:
    """Where the answered range stops; a server may send less than was asked for, never other bytes."""
    headers = response.headers
    said = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said)
    if match is None:
        raise _Passing(f"the answer names its range as {said!r}")
    first, last, total = map(int, match.groups())
    if total != size:
        raise UserError(
            f"{url} has {total} bytes now, but had {size} when it was opened; it changed meanwhile: start again"
        )
    if version is not None and _version(headers) != version:
        raise UserError(
            f"{url} is of version {_version(headers)} now, but was of {version} when it was opened; it changed "
            f"meanwhile: start again"
        )
    if first != start or not min(start + _SHORT_ANSWER_BYTES, stop) <= last + 1 <= stop:
        raise _Passing(f"the answer holds bytes {first} to {last}, asked for were {start} to {stop - 1}")
    length = headers.get("Content-Length")
    if length is not None and length != str(last + 1 - first):
        raise _Passing(f"the answer announces {length} bytes for the range {said}")
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UserError(f"{url}: the server encodes what it sends ({encoding}); take another")
    return last + 1


def _reason(error: Exception) -> str:
    """A failure in a few words; the text of a connection error names internals of the libraries."""
    if isinstance(error, httpx2.TimeoutException):
        return "no answer in time"
    if isinstance(error, _Passing):
        return str(error)
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy does not let it through: {error}"
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return "its certificate is not trusted: SSL_CERT_FILE names a file of those that are"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name, or its proxy's, is not known here"
    return "the connection failed"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
