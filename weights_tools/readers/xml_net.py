"""The XML of an OpenVINO IR -> layers and edges as they stand there, nothing looked up.

Parsed piece by piece by expat, without a tree of the whole: what is neither a layer nor an edge
(the shapes that OpenVINO has inferred, rt_info, the options of the conversion) is passed over.
A document type is refused, and with it every entity that a file could define.
Format: "Operation Set Specification" and "OpenVINO IR format" of the OpenVINO documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from minimix.limits import in_force
from weights_tools.readers.checkpoint import shown
from weights_tools.readers.source import Source

MAX_XML_BYTES = 16 * 2**20
"""The largest XML accepted; that of mixnet-l has 0.65 MB."""

MAX_ITEMS = 50_000
"""The most layers, ports, edges and attributes of layers together; mixnet-l has 6,345."""

MAX_NAMES = 10_000
"""The most different names of elements and attributes; mixnet-l has about 100."""

MAX_DEPTH = 64
"""The deepest nesting of elements; mixnet-l has 7."""

PIECE_BYTES = 2**16
"""The XML is parsed by pieces of this size; a piece without any tag is refused."""

VERSIONS = ("10", "11")

_NET = ("net",)
_LAYERS = (*_NET, "layers")
_LAYER = (*_LAYERS, "layer")
_EDGES = (*_NET, "edges")
# Groups are atomic: a file of many comments must not be tried in every way.
# A document type is let through, so that parsing can say that it is refused.
_ROOT = re.compile(
    rb"(?:\xef\xbb\xbf)?"
    rb"(?>\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^<>\[]*(?:\[.*?\]\s*)?>)*+"
    rb"<net\s[^<]*?\bversion",
    re.DOTALL,
)


@dataclass(slots=True)
class Layer:
    """One layer as it stands in the XML.

    Attributes:
        id: the number by which edges name it.
        name: chosen by the converter; two layers may share one.
        kind: its ``type``, such as Convolution or Const.
        data: the attributes of its ``data`` element, as text.
        inputs: identifiers of its input ports, in order.
        outputs: identifiers of its output ports, in order.
    """

    id: int
    name: str
    kind: str
    data: dict[str, str] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edge:
    """One connection: the output port (layer, port) feeds the input port (layer, port)."""

    source: tuple[int, int]
    target: tuple[int, int]


@dataclass
class Net:
    """All layers and edges, in the order of the file; ``version`` is that of the IR."""

    name: str = ""
    version: str = ""
    layers: list[Layer] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


def is_net(source: Source) -> bool:
    """Whether the file is XML whose root is ``net`` with a version, after at most 64 KB."""
    return _ROOT.match(source.data[:PIECE_BYTES]) is not None


def parse_net(source: Source) -> Net:
    """Open XML file -> its layers and edges.

    Raises:
        ValueError: it is no well-formed IR of a version in ``VERSIONS``, holds a document type
            or a subgraph, or is larger than the limits.
        expat.ExpatError: it is no well-formed XML.
    """
    most = in_force("MINIMIX_MAX_XML_BYTES", MAX_XML_BYTES)
    if source.size_bytes > most:
        raise ValueError(
            f"{source.size_bytes} bytes of XML; accepted are {most} (MINIMIX_MAX_XML_BYTES)"
        )
    handler = _Handler()
    # Aware of namespaces, of which an IR has none: names with odd colons are refused.
    parser = expat.ParserCreate("UTF-8", "}")
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.StartDoctypeDeclHandler = handler.doctype
    for piece in _pieces(source):
        parser.Parse(piece, False)
        # expat and Python keep each different name for as long as the parser lives.
        if len(parser.intern) > MAX_NAMES:
            raise ValueError(f"more than {MAX_NAMES} different names of elements and attributes")
    parser.Parse(b"", True)
    return handler.net


def _pieces(source: Source) -> Iterator[bytes]:
    """Cut the file; a tag longer than two pieces, which expat would gather, is refused."""
    for position in range(0, source.size_bytes, PIECE_BYTES):
        piece = source.data[position : position + PIECE_BYTES]
        if len(piece) == PIECE_BYTES and b"<" not in piece:
            raise ValueError(f"there is no tag in the {PIECE_BYTES} bytes from byte {position}")
        yield piece


class _Handler:
    """What expat calls; ``path`` holds the names of the elements that are open."""

    def __init__(self) -> None:
        self.net = Net()
        self.path: tuple[str, ...] = ()
        self.items = 0

    def doctype(self, name: str, *_: object) -> None:
        raise ValueError("it declares a document type, which an IR never does; refused unread")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        parent, self.path = self.path, (*self.path, name)
        if len(self.path) > MAX_DEPTH:
            raise ValueError(f"elements nested deeper than {MAX_DEPTH}")
        if not parent:
            self.root(name, attributes)
        elif parent == _LAYERS and name == "layer":
            self.layer(attributes)
        elif parent == _EDGES and name == "edge":
            self.edge(attributes)
        elif parent == _LAYER:
            self.detail(name, attributes)
        elif parent[:-1] == _LAYER and parent[-1] in ("input", "output") and name == "port":
            self.port(parent[-1], attributes)
        elif parent[:1] == _NET and name in ("Runtime_version", "MO_version"):
            self.net.metadata[name] = attributes.get("value", "")

    def end(self, name: str) -> None:
        self.path = self.path[:-1]

    def count(self, items: int) -> None:
        self.items += items
        if self.items > MAX_ITEMS:
            raise ValueError(f"more than {MAX_ITEMS} layers, ports, edges and attributes")

    def root(self, name: str, attributes: dict[str, str]) -> None:
        self.net.version = attributes.get("version", "")
        self.net.name = attributes.get("name", "")
        if name != "net" or self.net.version not in VERSIONS:
            raise ValueError(
                f"the root is {shown(name)}, version {shown(self.net.version)}; readable is net, "
                f"version {' or '.join(VERSIONS)}. Convert the model again by today's OpenVINO"
            )

    def layer(self, attributes: dict[str, str]) -> None:
        self.count(1)
        number = _number(attributes, "id", "a layer")
        name, kind = attributes.get("name"), attributes.get("type")
        if not name or not kind:
            raise ValueError(f"layer {number} has no name or no type")
        self.net.layers.append(Layer(number, name, kind))

    def detail(self, name: str, attributes: dict[str, str]) -> None:
        """Take what stands within a layer; a subgraph cannot be passed over like the rest."""
        layer = self.net.layers[-1]
        if name == "data":
            self.count(len(attributes))
            if layer.data:
                raise ValueError(f"layer {layer.id} has two elements data")
            layer.data = attributes
        elif name.endswith("body") or name in ("port_map", "back_edges"):
            raise ValueError(
                f"layer {layer.id}, {shown(layer.name)}, is a {shown(layer.kind)} and holds a "
                "network within the network, which no MixNet needs; refused"
            )

    def port(self, side: str, attributes: dict[str, str]) -> None:
        self.count(1)
        layer = self.net.layers[-1]
        ports = layer.inputs if side == "input" else layer.outputs
        ports.append(_number(attributes, "id", f"a port of layer {layer.id}"))

    def edge(self, attributes: dict[str, str]) -> None:
        self.count(1)
        ends = [
            _number(attributes, key, "an edge")
            for key in ("from-layer", "from-port", "to-layer", "to-port")
        ]
        self.net.edges.append(Edge((ends[0], ends[1]), (ends[2], ends[3])))


def _number(attributes: dict[str, str], key: str, what: str) -> int:
    text = attributes.get(key, "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"{what}: expected a number as {key}, found {shown(text)}")
    return int(text)
