"""URLs, from a server on this machine: what is fetched, and what is refused."""

from __future__ import annotations

import gzip
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from minimix import download as download_module
from minimix import inputs
from minimix.download import download
from minimix.errors import InputError
from minimix.inputs import find_inputs
from minimix.transport import RefusedError, next_target

BODY = b"a picture's bytes"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path.startswith("/to/"):
            self.answer(302, Location=self.path.removeprefix("/to/"))
        elif self.path == "/loop":
            self.answer(307, Location="/loop")
        elif self.path == "/nowhere":
            self.answer(301)
        elif self.path == "/zipped":
            self.answer(200, gzip.compress(b"0" * 100_000), **{"Content-Encoding": "gzip"})
        elif self.path == "/cut":
            self.answer(200, BODY, **{"Content-Length": "1000"})
        else:
            self.answer(200 if self.path == "/panda.jpg" else 404, BODY)

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep standard error for the tests."""


@pytest.fixture
def server(monkeypatch):
    """A server's address; ``seen`` on it lists the paths that were asked for."""
    for name in ("MINIMIX_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.seen = []
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def address(server, path):
    return f"http://127.0.0.1:{server.server_port}{path}"


def test_a_url_is_fetched_when_it_is_opened(server):
    url = address(server, "/panda.jpg")
    (item,) = find_inputs([url])
    assert server.seen == []
    stream = item.open()
    assert stream.read() == BODY and stream.name == item.name == url


def test_redirects_are_followed(server):
    assert download(address(server, "/to//to//panda.jpg"), max_bytes=100) == BODY
    assert server.seen[-1] == "/panda.jpg"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/missing", "HTTP 404 Not Found"),
        ("/loop", "more than 5 redirects"),
        ("/nowhere", "HTTP 301 without an address"),
        ("/to/file:///etc/passwd", "file:// is refused"),
        ("/to/ftp://127.0.0.1/a", "ftp:// is refused"),
        ("/zipped", "more than 1,000 bytes"),
        ("/cut", "cannot be fetched"),
    ],
)
def test_other_answers_are_errors_that_name_the_url(server, path, message):
    url = address(server, path)
    with pytest.raises(InputError, match=message) as caught:
        download(url, max_bytes=1000)
    assert str(caught.value).startswith(f"{url}: ")


def test_the_size_is_bounded_to_the_byte(server):
    url = address(server, "/panda.jpg")
    assert download(url, max_bytes=len(BODY)) == BODY
    with pytest.raises(InputError, match=f"more than {len(BODY) - 1} bytes"):
        download(url, max_bytes=len(BODY) - 1)


def test_the_time_is_bounded(server, monkeypatch):
    monkeypatch.setattr(download_module, "TOTAL_S", -1.0)
    with pytest.raises(InputError, match="not here after -1 s"):
        download(address(server, "/panda.jpg"), max_bytes=1000)


def test_a_server_that_is_not_there_is_an_error_with_its_cause(server):
    with socket.socket() as bound:  # bound but not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/a"
        with pytest.raises(InputError, match=r"cannot be fetched: Connection refused\. Check"):
            download(url, max_bytes=1000)


def test_https_never_leads_to_http():
    answer = requests.Response()
    answer.headers["Location"] = "http://host/a"
    with pytest.raises(RefusedError, match="redirects from https to http, which is refused"):
        next_target("https://host/a", answer)
    answer.headers["Location"] = "//other/b"
    assert next_target("https://host/a", answer) == "https://other/b"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_refuses_urls_and_asks_nobody(server, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv(inputs.OFFLINE_VARIABLE, "1")
    url = address(server, "/panda.jpg")
    (item,) = find_inputs([url], offline=how == "option")
    with pytest.raises(InputError, match="the network is forbidden"):
        item.open()
    assert server.seen == []


def test_offline_set_to_0_forbids_nothing(server, monkeypatch):
    monkeypatch.setenv(inputs.OFFLINE_VARIABLE, "0")
    (item,) = find_inputs([address(server, "/panda.jpg")])
    assert item.open().read() == BODY
