"""OpenVINO IR: what is inconsistent, refused or too large, and how the error says so."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from minimix.errors import WeightsError
from tests.openvino_writers import BODY, XML, Layer, ir_bytes, parameter, stored_ir
from weights_tools.readers import read, xml_net


def changed(old: str, new: str) -> bytes:
    assert old in XML.decode()
    return XML.decode().replace(old, new).encode()


KERNEL = 'element_type="f32" shape="2,2,3" offset="0" size="48"'


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('version="11"', 'version="7"', "'net', version '7'; readable is net, version 10 or 11"),
        ('id="3" name="conv"', 'id="2" name="conv"', "two layers have the id 2"),
        ('id="3" name="conv"', 'id="x" name="conv"', "a layer: expected a number as id, found 'x'"),
        ('name="conv" ', "", "layer 3 has no name or no type"),
        ('from-layer="6"', 'from-layer="9"', "of layer 9 to port 0 of layer 7; there is no such"),
        ('to-layer="6" to-port="1"', 'to-layer="6" to-port="0"', "'half', is fed by two edges"),
        ('from-layer="0" from-port="0"', 'from-layer="6" from-port="2"', "in or after a cycle"),
        ('<edge from-layer="0" from-port="0" to-layer="3" to-port="0"/>', "", "is fed by no edge"),
        (KERNEL, 'shape="2,2,3" offset="0"', "'kernel' says nothing of element_type, size"),
        ('"f32" shape="2,2,3"', '"u4" shape="2,2,3"', "element type 'u4'; readable are f64, f32"),
        ('"f32" shape="2,2,3"', '"string" shape="2,2,3"', "element type 'string'"),
        ('shape="2,2,3"', 'shape="2,2,4"', r"of shape \(2, 2, 4\) and f32 needs 64 bytes, not 48"),
        ('shape="2,2,3"', 'shape="2,,6"', "has '' as a size; expected a number"),
        ('shape="2,2,3"', f'shape="{2**40},{2**40}"', "more than .* elements"),
        ('shape="2,2,3"', f'shape="{"1," * 40}12"', "expected a list of at most 32 sizes"),
        (
            'offset="0" size="48"',
            'offset="9" size="48"',
            "constants 'axis' and|constants 'kernel' and",
        ),
        ('offset="56" size="16"', 'offset="57" size="16"', r"lies at bytes 57\.\.73 of the \.bin"),
        ('offset="0"', 'offset="-1"', "has '-1' as offset"),
        ('shape="1,2,4,4"', 'shape="..."', r"the shape '\.\.\.'"),
        ('element_type="f32" shape="1,2,4,4"', 'k=""', "a Parameter without a shape"),
        ('type="Parameter"', 'type="Result"', "layer 0, a Result, has 0 input and 1 output ports"),
        ('type="VariadicSplit"', 'type="Result"', "layer 5, a Result, has 3 input and 2 output"),
        ('type="Convolution"', 'type="Const"', "has 2 input and 1 output ports; expected 0 and 1"),
        ('name="conv"', f'name="{"c" * 2000}"', "expected 1 to 1024 printable characters"),
        ('name="half"', 'name="split:1"', None),
        ("</net>", "</net><net/>", "junk after document element"),
        ("\t</layers>", "\t</layer>", "mismatched tag"),
        ("1.2", "&undefined;", "undefined entity"),
        ("<layers>", '<layers><!DOCTYPE net [<!ENTITY a "a">]>', "not well-formed"),
    ],
)
def test_what_is_inconsistent_is_named(
    old: str, new: str, problem: str | None, tmp_path: Path
) -> None:
    path = stored_ir(tmp_path, changed(old, new), BODY)
    if problem is None:  # odd, but a network
        assert read(path).topology is not None
        return
    with pytest.raises(WeightsError, match=rf"net\.xml: OpenVINO IR: .*({problem})"):
        read(path)


@pytest.mark.parametrize("element", ["body", "then_body", "port_map", "back_edges"])
def test_a_network_within_the_network_is_refused(element: str, tmp_path: Path) -> None:
    layers = [parameter("x", "1"), Layer("loop", "Loop", [(0, 0)], extra=f"<{element}/>")]
    with pytest.raises(WeightsError, match="layer 1, 'loop', is a 'Loop' and holds a network"):
        read(stored_ir(tmp_path, *ir_bytes(layers)))


def test_the_constants_must_be_beside_the_xml(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"are in net\.bin; there is none beside it\. Put it"):
        read(stored_ir(tmp_path, XML, None))
    only = tmp_path / "only.bin"
    only.write_bytes(XML)
    with pytest.raises(WeightsError, match=r"rename it to \.xml"):
        read(only)


def wrapped(middle: str) -> bytes:
    return f'<net name="n" version="11"><rt_info>{middle}</rt_info></net>'.encode()


BOMBS: dict[str, tuple[bytes, str]] = {
    "entities": (
        b'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>' + wrapped("&b;"),
        "it declares a document type, which an IR never does",
    ),
    "a late document type": (
        b'<net name="n" version="11"><!DOCTYPE net [<!ENTITY a "a">]></net>',
        "not well-formed",
    ),
    "nesting": (wrapped("<a>" * 200_000), "nested deeper than 64"),
    "names": (wrapped("".join(f"<a{i}/>" for i in range(50_000))), "more than 10000 different"),
    "attributes": (
        wrapped("<a " + " ".join(f'b{i}=""' for i in range(100_000)) + "/>"),
        "there is no tag in the 65536 bytes|different names",
    ),
    "text": (wrapped("a" * 300_000), "there is no tag in the 65536 bytes"),
    "layers": (
        b'<net name="n" version="11"><layers>'
        + b"".join(b'<layer id="%d" name="a" type="b"/>' % i for i in range(60_000))
        + b"</layers></net>",
        "more than 50000 layers, ports, edges and attributes",
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_cannot_fill_the_memory(bomb: str, tmp_path: Path) -> None:
    data, problem = BOMBS[bomb]
    path = stored_ir(tmp_path, data, None)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=problem):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data) + 64 * 2**20
    finally:
        tracemalloc.stop()


def test_an_xml_larger_than_any_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xml_net, "MAX_XML_BYTES", len(XML) - 1)
    with pytest.raises(WeightsError, match=f"{len(XML)} bytes of XML; accepted are"):
        read(stored_ir(tmp_path, XML, BODY))


@pytest.mark.parametrize("name", [b"pr::::n", b"precisio:", b"a:b"])
def test_names_in_namespaces_that_nobody_declared_are_refused(name: bytes, tmp_path: Path) -> None:
    data = XML.replace(b" precision=", b" " + name + b"=", 1)
    assert data != XML
    with pytest.raises(WeightsError, match="not well-formed|unbound prefix"):
        read(stored_ir(tmp_path, data, BODY))
