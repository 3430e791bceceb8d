"""A ready-made binary from a mirror: kept only when it is whole and has the right checksum."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.setup import kube, mirror
from tools.setup.places import Places
from tools.setup.progress import Progress, SetupError

PROGRAM = b"#!/bin/sh\necho v1.34.2\n"
CHECKSUM = hashlib.sha256(PROGRAM).hexdigest()


class Mirror(ThreadingHTTPServer):
    """Serves PROGRAM at /outrider-kube, half of it at /cut, a redirect at /moved; notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/outrider-kube")
            self.end_headers()
        elif self.path.startswith(("/outrider-kube", "/cut")):
            self.send_response(200)
            self.send_header("Content-Length", str(len(PROGRAM)))
            self.end_headers()
            self.wfile.write(PROGRAM[: 5 if self.path == "/cut" else None])
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Mirror]:
    with Mirror() as mirror_server:
        mirror_server.daemon_threads = True
        thread = threading.Thread(target=mirror_server.serve_forever, args=(0.01,))
        thread.start()
        yield mirror_server
        mirror_server.shutdown()
        thread.join()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("path", ["/outrider-kube", "/moved"])
def test_the_right_checksum_gives_an_executable(server: Mirror, tmp_path: Path, path: str) -> None:
    target = tmp_path / "hash" / "outrider-kube"
    mirror.fetch(server.url(path), CHECKSUM.upper(), target)
    assert target.read_bytes() == PROGRAM
    assert target.stat().st_mode & 0o777 == 0o755
    assert names_in(target.parent) == ["outrider-kube"]


def test_a_wrong_checksum_is_named_and_nothing_is_kept(server: Mirror, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(SetupError, match=f"has SHA-256 {CHECKSUM}.*says {wrong}") as refused:
        mirror.fetch(server.url("/outrider-kube?token=secret"), wrong, tmp_path / "outrider-kube")
    assert "secret" not in str(refused.value)
    assert names_in(tmp_path) == []


def test_a_wrong_checksum_leaves_the_binary_that_was_there(server: Mirror, tmp_path: Path) -> None:
    target = tmp_path / "outrider-kube"
    target.write_bytes(b"older")
    with pytest.raises(SetupError):
        mirror.fetch(server.url("/outrider-kube"), "0" * 64, target)
    assert target.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/nothing", "HTTP Error 404: Not Found"),
        ("/cut", "promised 23 bytes and sent 5"),
    ],
)
def test_an_incomplete_answer_keeps_nothing(server: Mirror, tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(SetupError, match=why):
        mirror.fetch(server.url(path), CHECKSUM, tmp_path / "outrider-kube")
    assert names_in(tmp_path) == []


def test_an_endless_answer_is_cut_off(server: Mirror, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="more than 10 bytes"):
        mirror.fetch(server.url("/outrider-kube"), CHECKSUM, tmp_path / "outrider-kube", largest=10)
    assert names_in(tmp_path) == []


def test_a_dead_mirror_is_a_clear_error(server: Mirror, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/outrider-kube"
    with pytest.raises(SetupError, match=r"could not be fetched: .*Check OUTRIDER_KUBE_URL"):
        mirror.fetch(url, CHECKSUM, tmp_path / "outrider-kube")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://mirror/kube", "outrider-kube", ""])
def test_only_http_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(SetupError, match="must begin with https"):
        mirror.fetch(url, CHECKSUM, tmp_path / "outrider-kube")


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, CHECKSUM + "0"])
def test_a_checksum_is_required(tmp_path: Path, server: Mirror, sha256: str) -> None:
    with pytest.raises(SetupError, match="OUTRIDER_KUBE_SHA256"):
        mirror.fetch(server.url("/outrider-kube"), sha256, tmp_path / "outrider-kube")
    assert server.asked == []


def test_what_is_printed_of_a_url_has_no_password() -> None:
    assert mirror.public("https://user:pass@mirror.example/a?token=1#f") == "https://mirror.example/a"


class TestProvide:
    """The whole step: where the binary comes from, and that it comes once."""

    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    def test_the_mirror_is_asked_once(
        self, server: Mirror, checkout: Callable[..., Places], lines: list[str]
    ) -> None:
        environ = {"OUTRIDER_KUBE_URL": server.url("/outrider-kube"), "OUTRIDER_KUBE_SHA256": CHECKSUM}
        places = checkout(**environ)
        first = kube.provide(places, Progress(lines.append))
        assert first == places.kube_binary
        assert kube.version_of(places, first) == "v1.34.2"
        assert kube.provide(places, Progress(lines.append)) == first
        assert server.asked == ["/outrider-kube"]
        assert "130 MB" in lines[0]

    def test_a_binary_with_another_checksum_is_replaced(
        self, server: Mirror, checkout: Callable[..., Places], lines: list[str]
    ) -> None:
        environ = {"OUTRIDER_KUBE_URL": server.url("/outrider-kube"), "OUTRIDER_KUBE_SHA256": CHECKSUM}
        places = checkout(**environ)
        places.kube_binary.parent.mkdir(parents=True)
        places.kube_binary.write_bytes(b"#!/bin/sh\necho v1.0.0\n")
        assert kube.provide(places, Progress(lines.append)).read_bytes() == PROGRAM

    def test_a_named_binary_is_used_as_it_is(
        self, checkout: Callable[..., Places], tmp_path: Path, lines: list[str]
    ) -> None:
        named = tmp_path / "ready"
        named.write_bytes(PROGRAM)
        named.chmod(0o755)
        places = checkout(OUTRIDER_KUBE=str(named))
        assert kube.provide(places, Progress(lines.append)) == named
        assert lines == []
        assert not (tmp_path / "cache").exists()

    def test_a_named_binary_must_be_executable(
        self, checkout: Callable[..., Places], tmp_path: Path, lines: list[str]
    ) -> None:
        named = tmp_path / "ready"
        named.write_bytes(PROGRAM)
        with pytest.raises(SetupError, match=r"OUTRIDER_KUBE names .*ready, which is not an executable file"):
            kube.provide(checkout(OUTRIDER_KUBE=str(named)), Progress(lines.append))

    def test_a_named_binary_must_run(
        self, checkout: Callable[..., Places], tmp_path: Path, lines: list[str]
    ) -> None:
        named = tmp_path / "ready"
        named.write_text("#!/bin/sh\necho broken; exit 3\n")
        named.chmod(0o755)
        with pytest.raises(SetupError, match=r"status 3:\n    broken"):
            kube.provide(checkout(OUTRIDER_KUBE=str(named)), Progress(lines.append))
