"""Answers as proxies, pages to log in and servers at fault give them, byte by byte; and what surrounds a request."""

import gzip
import socketserver
import threading

import pytest

from foundation import UserError, web
from foundation.web import Client, OutOfReach, Patience, Refused, asked_wait
from range_server import RangeServer

HASTY = Patience(tries=3, first_contact_tries=2, first_delay_s=0.01, longest_delay_s=0.02, timeout_s=2)


class Speaker(socketserver.ThreadingTCPServer):
    """Answers every request with what `say` makes of its number and head."""

    daemon_threads = True

    def __init__(self, say):
        super().__init__(("127.0.0.1", 0), None)
        self.say, self.heads = say, []

    def finish_request(self, request, client_address):
        with request, request.makefile("rb") as lines:
            head = "".join(line.decode("latin1") for line in iter(lines.readline, b"\r\n"))
            self.heads.append(head)
            request.sendall(self.say(len(self.heads), head))

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def message(code, body=b"", **headers):
    """An answer as it goes over the wire."""
    told = {"Content-Length": len(body), "Connection": "close", **headers}
    lines = [f"HTTP/1.1 {code} X", *(f"{name.replace('_', '-')}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin1") + body


def always(answer):
    return Speaker(lambda number, head: answer)


def whole(server, size=10):
    return b"".join(Client(patience=HASTY).stream(f"{server.url}/x", 0, size, size=size, whole=True))


PAGE = b"<html>Please log in</html>"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            message(200, PAGE, Content_Type="text/html; charset=utf-8"),
            "sent 26 bytes of text/html, but the file has 10",
        ),
        (message(200, PAGE[:5]), "sent 5 bytes of no kind, but the file has 10"),
        (message(200, gzip.compress(PAGE)[:10], Content_Encoding="gzip"), r"encodes what it sends \(gzip\)"),
    ],
)
def test_a_page_in_place_of_a_file_is_no_part_of_the_file(answer, reason):
    with Speaker(lambda number, head: answer if number < 3 else message(200, b"0123456789")) as server:
        assert whole(server) == b"0123456789"
    web.forget_hosts()
    with always(answer) as server, pytest.raises(OutOfReach, match=reason):
        whole(server)


@pytest.mark.parametrize("range_", [f"bytes 0-9/{'9' * 5000}", "bytes 0-9/*", "bytes=0-9/10", "lines 0-9/10"])
def test_a_range_that_is_none_ends_in_one_line(range_):
    with (
        always(message(206, b"0123456789", Content_Range=range_)) as server,
        pytest.raises(OutOfReach, match="its range"),
    ):
        list(Client(patience=HASTY).stream(f"{server.url}/x", 0, 10, size=10))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"api";r=0;t=7'}, 7),
        ({"RateLimit": '"api";t=7;r=0'}, 7),
        ({"RateLimit": "api; r = 00 ; t = 7"}, 7),
        ({"RateLimit": '"api";r=0;t=7, "resolvers";r=0;t=90'}, 90),
        ({"RateLimit": '"api";r=3;t=7, "resolvers";r=0;t=5'}, 5),
        ({"RateLimit": '"api";r=10;t=7'}, None),
        ({"RateLimit": '"api"'}, None),
        ({"Retry-After": "soon", "RateLimit": '"api";r=0;t=7'}, 7),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 +9999"}, None),
    ],
)
def test_what_a_server_asks_to_wait_is_read_in_every_form(headers, seconds):
    assert asked_wait(headers) == seconds


@pytest.mark.parametrize("name", ["LOCALHOST", "me:mine@localhost", "LocalHost"])
def test_a_host_that_is_written_otherwise_is_the_one_that_was_asked(name):
    with always(message(404)) as server, pytest.raises(Refused, match="no such file"):
        Client(patience=HASTY).get(server.url.replace("127.0.0.1", name))
    assert len(server.heads) == 1


def test_a_port_that_goes_without_saying_is_left_out_of_a_host():
    assert (
        web._netloc("https://mirror.example:443/hub") == web._netloc("https://MIRROR.example/hub") == "mirror.example"
    )


def test_what_the_hub_says_is_final_behind_a_redirect_too():
    with always(message(404, X_Error_Code="RevisionNotFound")) as hub:
        with always(message(308, Location=f"{hub.url}/api")) as mirror, pytest.raises(Refused) as refusal:
            Client(patience=HASTY).get(f"{mirror.url}/api")
        assert (refusal.value.code, len(hub.heads)) == ("RevisionNotFound", 1)


def test_two_redirects_lead_to_the_file_and_take_no_token_to_another_host():
    def say(number, head):
        if head.startswith("GET /a/b"):
            return message(307, Location="../c")
        return message(302, Location=f"{storage.url}/d")

    with always(message(200, b"{}")) as storage, Speaker(say) as hub:
        client = Client(headers=lambda: {"authorization": "Bearer hf_secret"}, patience=HASTY)
        assert client.get(f"{hub.url}/a/b") == b"{}"
        assert ["hf_secret" in head for head in (*hub.heads, *storage.heads)] == [True, True, False]


@pytest.mark.parametrize("token", ["Bearer ‘hf_secret’", "Bearer hf_sécret", "Bearer hf_secret\nX: y"])
def test_a_token_that_no_header_may_hold_is_told_of_and_not_told(token):
    with always(message(200)) as server, pytest.raises(UserError, match="check HF_TOKEN") as refusal:
        Client(headers=lambda: {"authorization": token}, patience=HASTY).get(server.url)
    assert "secret" not in str(refusal.value).lower()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks9://127.0.0.1:1"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1"),
        ("SSL_CERT_FILE", "/there/is/none.pem"),
        ("SSL_CERT_FILE", __file__),
    ],
)
def test_settings_of_the_network_that_cannot_be_used_end_in_one_line(name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(web, "_session", None)
    with pytest.raises(UserError, match=f"settings cannot be used .*{name}"):
        Client(patience=HASTY).get("http://127.0.0.1:9/x")


def test_a_name_that_nobody_knows_is_told():
    with pytest.raises(OutOfReach, match="its name, or its proxy's, is not known here"):
        Client(patience=HASTY).get("http://hub.invalid/x")


def test_without_a_home_directory_there_is_no_netrc(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", no_home)
    with RangeServer({"x": b"abc"}) as server:
        assert Client(patience=HASTY).get(f"{server.url}/x") == b"abc"
