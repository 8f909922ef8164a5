"""The explorer: a model's run on a picture, written down, and shown as one page.

``record`` runs and writes down, ``Record`` is what was written (``save`` and ``load`` keep it as a
file), ``write_page`` makes the page of it.  ``minimix.explorer.format`` describes the data.

    net = minimix.load("mixnet-pocket")
    page = write_page(record(net, "panda.png"))
"""

from __future__ import annotations

from minimix.explorer.page import write_page
from minimix.explorer.record import Record
from minimix.explorer.recording import record

__all__ = ["Record", "record", "write_page"]
