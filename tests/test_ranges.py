import email.utils
import time
from datetime import UTC, datetime, timedelta

import pytest

from foundation import UserError
from foundation.web import Client, OutOfReach, Patience
from range_server import (
    RangeServer,
    drop_after,
    end_without_length,
    send_less,
    shifted,
    status,
    whole_file,
    with_headers,
)

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HASTY = Patience(tries=4, first_delay_s=0.01, longest_delay_s=0.02, timeout_s=2, progress_bytes=1 << 16)


def read(server, start=0, stop=1 << 20, *, size=1 << 20, patience=HASTY):
    return b"".join(Client(patience=patience).stream(f"{server.url}/file.bin", start, stop, size=size))


def served(*faults):
    return RangeServer({"file.bin": CONTENT}, faults=faults)


def test_a_range_is_the_bytes_that_were_asked_for_by_one_request():
    with served() as server:
        assert read(server, 1000, 5000) == CONTENT[1000:5000]
        assert server.log.ranges == [["/file.bin", 1000, 5000, 4000]]


@pytest.mark.parametrize(
    "fault",
    [
        status(429),
        status(500),
        status(503),
        status(522),
        drop_after(0),
        drop_after(70_000),
        end_without_length(70_000),
        send_less(123_456),
        shifted(1),
        with_headers(Content_Range=None),
        with_headers(Content_Range="bytes 0-1048575"),
        with_headers(Content_Length=len(CONTENT) + 10),
        with_headers(Content_Length=len(CONTENT) - 10),
        with_headers(Content_Encoding="Identity"),
    ],
)
def test_a_fault_that_passes_leaves_the_right_bytes_behind(fault):
    with served(fault) as server:
        assert read(server) == CONTENT


def test_short_answers_are_no_failures(monkeypatch):
    monkeypatch.setattr("foundation.web.time.sleep", lambda _: pytest.fail("it waits"))
    with served(*[send_less(1 << 17)] * 7) as server:
        assert read(server) == CONTENT
        assert len(server.log.ranges) == 8


def test_answers_that_are_too_short_to_end_ever_are_failures():
    with served(*[send_less(10)] * 10) as server, pytest.raises(UserError, match="failed 4 times"):
        read(server)


def test_another_version_of_the_same_size_is_refused_with_both():
    with served() as server:
        client = Client(patience=HASTY)
        size, version = client.describe(f"{server.url}/file.bin")
        server.etag = '"v2"'
        with pytest.raises(UserError, match='is of version "v2" now, but was of "v1" when it was opened'):
            b"".join(client.stream(f"{server.url}/file.bin", 0, 10, size=size, version=version))


def test_a_server_that_tells_no_version_is_refused():
    with served() as server:
        server.etag = None
        with pytest.raises(UserError, match=r"does not tell its version \(ETag or Last-Modified\)"):
            Client().describe(f"{server.url}/file.bin")


def redirect(to):
    def fault(handler, entry, start, stop):
        handler.answer(302, {"Location": to, "Content-Length": 0})

    return fault


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("/file.bin", "cannot be asked for"),
        ("ftp://127.0.0.1/x", "cannot be asked for"),
        ("http://127.0.0.1:99999/x", "failed 4 times in a row"),
    ],
)
def test_redirects_that_lead_nowhere_end_in_one_line(to, message):
    with served(*[redirect(to)] * 40) as server, pytest.raises(UserError, match=message):
        read(server)


def test_a_netrc_does_not_take_the_place_of_the_token(tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with served() as server:
        url = f"{server.url}/file.bin"
        b"".join(Client(headers=lambda: {"authorization": "Bearer abc"}).stream(url, 0, 10, size=1 << 20))
        b"".join(Client().stream(url, 0, 10, size=1 << 20))
        with_token, without = server.log.headers
        assert with_token["authorization"] == "Bearer abc"
        assert without["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("fault", [drop_after(300_000), end_without_length(300_000), send_less(300_000)])
def test_a_broken_range_goes_on_at_the_byte_where_it_broke(fault):
    with served(fault, fault) as server:
        assert read(server) == CONTENT
        assert server.log.bytes_sent == len(CONTENT)
        assert [start for _, start, _, _ in server.log.ranges] == [0, 300_000, 600_000]


@pytest.mark.parametrize("fault", [status(503), drop_after(0), shifted(1), with_headers(Content_Range=None)])
def test_a_fault_that_stays_ends_in_one_line_with_the_number_of_tries(fault):
    with served(*[fault] * 10) as server, pytest.raises(UserError, match=r"failed 4 times in a row \(last: "):
        read(server)


def test_progress_between_failures_counts_them_anew():
    with served(*[drop_after(1 << 17)] * 7) as server:
        assert read(server) == CONTENT
        assert len(server.log.ranges) == 8


def test_failures_with_hardly_any_progress_between_end_it():
    with served(*[drop_after(100)] * 10) as server, pytest.raises(UserError, match="failed 4 times"):
        read(server)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (whole_file, "sends whole files only"),
        (status(401), "refuses it"),
        (status(403), "refuses it"),
        (status(404), "no such file"),
        (status(418), "answered 418, expected 206"),
        (
            with_headers(Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT) + 7}"),
            "has 1048583 bytes now, but had",
        ),
        (with_headers(Content_Encoding="gzip"), "encodes what it sends"),
    ],
)
def test_what_will_not_pass_ends_at_once(fault, message):
    with served(fault) as server:
        with pytest.raises(UserError, match=message):
            read(server)
        assert len(server.log.ranges) == 1


def test_a_file_that_is_shorter_than_it_was_said_to_be_is_refused():
    with served() as server, pytest.raises(UserError, match="ends before byte 1048700, but was said to have 1048700"):
        read(server, len(CONTENT), len(CONTENT) + 124, size=len(CONTENT) + 124)


def waited(fault):
    with served(fault) as server:
        started = time.monotonic()
        assert read(server) == CONTENT
        return time.monotonic() - started


def test_a_server_that_names_a_time_is_obeyed():
    assert waited(status(429, Retry_After=1)) >= 1.0
    assert waited(status(503, RateLimit='"resolvers";r=0;t=1')) >= 1.0
    later = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    assert waited(status(429, Retry_After=later)) >= 0.9


def test_a_server_that_asks_for_hours_is_told_of_at_once():
    with served(status(429, Retry_After=7200)) as server, pytest.raises(UserError, match="asks for 7200 s of patience"):
        read(server)


def test_a_date_without_a_zone_and_a_length_that_is_none_are_no_reason_to_fail():
    assert waited(status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 -0000")) < 1.0
    assert waited(with_headers(Content_Length="many")) < 1.0


def test_a_date_that_is_none_is_no_reason_to_fail():
    assert waited(status(503, Retry_After="soon")) < 1.0
    assert waited(status(503, Retry_After="²")) < 1.0


def test_a_server_that_falls_silent_is_tried_again():
    def silent(handler, entry, start, stop):
        handler.answer(206, handler.range_headers(start, stop))
        time.sleep(0.5)
        handler.hang_up()

    patience = Patience(tries=4, first_delay_s=0.01, timeout_s=0.2)
    with served(silent) as server:
        assert read(server, patience=patience) == CONTENT


def test_the_size_and_version_of_a_file_are_what_its_server_says():
    with served() as server:
        assert Client().describe(f"{server.url}/file.bin") == (len(CONTENT), '"v1"')
        with pytest.raises(UserError, match="no such file"):
            Client().describe(f"{server.url}/other.bin")


def test_a_host_that_cannot_be_reached_is_told_soon():
    with served() as server:
        url = f"{server.url}/file.bin"
    with pytest.raises(UserError, match=r"failed 3 times in a row \(last: the connection failed\)"):
        Client(patience=Patience(first_delay_s=0.01)).describe(url)


def test_headers_go_with_every_request_and_no_encoding_is_accepted():
    with served() as server:
        client = Client(headers=lambda: {"Authorization": "Bearer abc"}, patience=HASTY)
        b"".join(client.stream(f"{server.url}/file.bin", 0, 10, size=len(CONTENT)))
        (headers,) = server.log.headers
        assert (headers["Authorization"], headers["Accept-Encoding"]) == ("Bearer abc", "identity")


def trickle(handler, entry, start, stop):
    handler.answer(206, handler.range_headers(start, stop))
    for place in range(start, start + 20):
        handler.send(entry, place, place + 1)
        time.sleep(0.05)
    handler.hang_up()


def test_a_server_that_only_trickles_is_tried_again():
    patience = Patience(tries=4, first_delay_s=0.01, timeout_s=0.2, slowest_bytes_per_s=1000)
    with served(trickle) as server:
        assert read(server, patience=patience) == CONTENT
        assert server.log.bytes_sent < len(CONTENT) + 20


def test_a_document_that_takes_too_long_is_asked_for_again_and_then_told():
    def slow(handler, entry, start, stop):
        handler.answer(200, {"Content-Length": stop - start})
        for place in range(start, stop, 1 << 16):
            handler.send(entry, place, min(place + (1 << 16), stop))
            time.sleep(0.05)

    patience = Patience(tries=2, first_delay_s=0.01, document_s=0.2)
    with served(slow) as server:
        assert Client(patience=patience).get(f"{server.url}/file.bin") == CONTENT
    with served(slow, slow) as server, pytest.raises(OutOfReach, match=r"last: it did not come within 0 s"):
        Client(patience=patience).get(f"{server.url}/file.bin")


@pytest.mark.parametrize("fault", [status(500), status(429, Retry_After=0), drop_after(1000)])
def test_a_host_that_answered_once_is_given_all_tries(fault):
    with served(*[fault] * 3) as server:
        client = Client(patience=Patience(tries=4, first_contact_tries=1, first_delay_s=0.01))
        assert client.get(f"{server.url}/file.bin") == CONTENT


def test_a_host_that_does_not_answer_is_not_asked_again_for_a_while():
    with served() as server:
        url = f"{server.url}/file.bin"
    patient = Client(patience=Patience(first_delay_s=0.01, silence_s=0.2))
    with pytest.raises(OutOfReach, match="failed 3 times in a row") as first:
        patient.get(url)
    assert first.value.reason == "it failed 3 times in a row (last: the connection failed)"
    with pytest.raises(OutOfReach, match="did not answer before"):
        patient.get(url)
    time.sleep(0.2)
    with pytest.raises(OutOfReach, match="failed 3 times in a row"):
        patient.get(url)
