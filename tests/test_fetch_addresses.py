"""Several addresses of one file, in order, and what is shown of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimix.hub.checksums import DiffersError, Expected
from minimix.hub.events import FetchEvent
from minimix.hub.fetch import FetchError, fetch
from tests.fetching import FILE, KNOWN, OTHER, PATH, QUICK, SHA256, file_server, part_file
from tests.model_files import listing
from tests.release_server import Reply

server = pytest.fixture(file_server)
part = pytest.fixture(part_file)


def test_the_second_address_is_asked_if_the_first_fails(server, part):
    server.files["/bad"] = OTHER
    addresses = [f"{server.address}{path}" for path in ("/gone", "/bad", PATH)]
    assert fetch(addresses, part, KNOWN, patience=QUICK) == SHA256
    assert [seen.target for seen in server.seen] == ["/gone", "/bad", PATH]


def test_the_second_address_is_asked_if_what_the_first_delivers_is_not_accepted(server, part):
    server.files["/page"] = OTHER
    shown: list[bytes] = []

    def accept(path: Path) -> None:
        shown.append(path.read_bytes())
        path.unlink()  # it may take the file away
        if shown[-1] == OTHER:
            raise DiffersError("a web page")

    addresses = [f"{server.address}/page", server.address + PATH]
    unknown = Expected(None, 1 << 20)
    assert fetch(addresses, part, unknown, accept=accept, patience=QUICK) == SHA256
    assert shown == [OTHER, FILE]
    with pytest.raises(FetchError, match=r"/page: a web page$"):
        fetch(addresses[:1], part, unknown, accept=accept, patience=QUICK)
    assert listing(part.path.parent) == []


def test_if_all_fail_each_says_why(server, part):
    server.files["/bad"] = OTHER
    addresses = [f"{server.address}/gone", f"{server.address}/bad"]
    with pytest.raises(FetchError) as caught:
        fetch(addresses, part, KNOWN, patience=QUICK)
    first, second = str(caught.value).split("\n")
    assert first == f"{addresses[0]}: HTTP 404 Not Found"
    assert second.startswith(f"{addresses[1]}: its sha256 is ")
    assert listing(part.path.parent) == []


def test_a_password_in_an_address_is_sent_and_never_shown(server, part):
    address = server.address.replace("//", "//me:secret@")
    with pytest.raises(FetchError, match="HTTP 404") as caught:
        fetch([f"{address}/gone"], part, KNOWN, patience=QUICK)
    assert "secret" not in str(caught.value)
    server.script[PATH] = [Reply(status=500), Reply(status=302, headers={"Location": "//[::1"})]
    events: list[FetchEvent] = []
    with pytest.raises(FetchError, match="leads to no address") as caught:
        fetch([address + PATH], part, KNOWN, patience=QUICK, progress=events.append)
    assert "secret" not in f"{caught.value} {events}"
    assert server.seen[0].headers["authorization"].startswith("Basic ")
    with pytest.raises(KeyboardInterrupt):
        fetch([address + PATH], part, KNOWN, patience=QUICK, progress=_interrupt)
    assert b"secret" not in part.paths[1].read_bytes()


def _interrupt(event: FetchEvent) -> None:
    if event.done_bytes:
        raise KeyboardInterrupt
