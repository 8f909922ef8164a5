"""Edges of the readers that no other file of theirs comes to: what is just in, what just out."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from minimix.errors import WeightsError
from tests.checkpoint_writers import (
    stored,
)
from tests.onnx_writers import field, graph, model, node, tensor
from tests.tensorflow_writers import (
    MAGIC,
    Bundle,
    Stored,
    masked_crc,
    message,
    number,
    stored_array,
    table_bytes,
    tar_bytes,
    tar_gz_bytes,
    varint,
    written,
)
from tests.test_tensorflow_tar import pax_bytes
from weights_tools.readers import (
    detect,
    mindspore,
    onnx_messages,
    onnx_model,
    onnx_tensors,
    openvino_constants,
    protobuf,
    read,
    safetensors,
    tensorflow_index,
    tensorflow_names,
    tensorflow_tar,
    xml_net,
)
from weights_tools.readers.scalars import SCALARS
from weights_tools.readers.snappy import unpack
from weights_tools.readers.sorted_table import FOOTER_BYTES, read_table
from weights_tools.readers.source import Source, open_source
from weights_tools.readers.tensorflow_index import Entry

ONE = stored_array(np.ones(2, np.float32))


def opened(folder: Path, data: bytes) -> Source:
    return open_source(stored(folder, data))


def test_half_of_an_ir_names_the_other_half_and_no_other_file_does(tmp_path: Path) -> None:
    for name in ("net.bin", "net.xml", "other.dat", "other.xml", "alone.bin"):
        (tmp_path / name).write_bytes(b"abc")
    with pytest.raises(WeightsError, match=r"Name the network that it belongs to: .*net\.xml"):
        detect(tmp_path / "net.bin")
    for name in ("other.dat", "alone.bin"):
        with pytest.raises(WeightsError, match="Is it complete?"):
            detect(tmp_path / name)


def test_a_file_of_eight_bytes_can_be_an_index(tmp_path: Path) -> None:
    (tmp_path / "model.index").write_bytes(MAGIC)
    assert open_source(tmp_path).path == tmp_path / "model.index"
    (tmp_path / "model.index").write_bytes(MAGIC[1:])
    with pytest.raises(WeightsError, match="0 TensorFlow bundles"):
        open_source(tmp_path)


def test_a_page_without_a_document_type_is_one_too(tmp_path: Path) -> None:
    assert detect(stored(tmp_path, b"<HTML><body>")) == "html"


@pytest.mark.parametrize(
    "table",
    [
        mindspore.DTYPES.values(),
        openvino_constants.ELEMENT_TYPES.values(),
        safetensors.DTYPES.values(),
        tensorflow_index.SCALAR_TYPES.values(),
        [scalar for scalar, _ in onnx_tensors.DATA_TYPES.values()],
    ],
    ids=["mindspore", "openvino", "safetensors", "tensorflow", "onnx"],
)
def test_every_element_type_of_a_format_is_one_of_ours(table: Iterable[str]) -> None:
    assert set(table) <= SCALARS.keys()
    assert len(set(table)) == len(list(table)) == 10


def test_limits_change_on_purpose_only() -> None:
    assert onnx_messages.MAX_FIELDS == 100_000
    assert onnx_model.MAX_MODEL_FIELDS == 10_000
    assert protobuf.MAX_FIELD_NUMBER == 2**29 - 1
    assert safetensors.MAX_HEADER_BYTES == 2_097_152
    assert tensorflow_names.MAX_STATE_BYTES == 65_536
    assert tensorflow_tar.MAX_UNUSED_BYTES == 16 * 2**20
    assert xml_net.PIECE_BYTES == 65_536


# ONNX and OpenVINO.


def test_an_onnx_file_may_be_of_any_version_of_one_byte(tmp_path: Path) -> None:
    assert detect(stored(tmp_path, field(1, 127) + field(7, b""))) == "onnx"
    with pytest.raises(WeightsError, match="which no known checkpoint does"):
        detect(stored(tmp_path, field(1, 128) + field(7, b"")))


def test_as_many_fields_as_are_accepted_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_messages, "MAX_FIELDS", 2)
    parser = onnx_messages.Parser()
    parser.count(2)
    with pytest.raises(ValueError, match="more than 2 fields"):
        parser.count(1)


def test_fields_that_nobody_reads_have_their_form_nevertheless(tmp_path: Path) -> None:
    for dim, problem in [(field(2, 5), "dim_param has wire type 0"), (field(2, "a") * 2, "twice")]:
        kind = field(1, field(1, 1) + field(2, field(1, dim)))
        data = model(graph([], [], [field(1, "x") + field(2, kind)]))
        with pytest.raises(WeightsError, match=problem):
            read(stored(tmp_path, data))
    with pytest.raises(WeightsError, match="graph: name comes twice"):
        read(stored(tmp_path, model(graph([]) + field(2, "another name"))))
    strings = field(8, "w") + field(1, 2) + field(2, 8) + field(6, b"a") + field(6, b"b")
    with pytest.raises(WeightsError, match="data_type 8; readable are"):
        read(stored(tmp_path, model(graph([], [strings]))))


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 6, 7, 8])
def test_an_attribute_of_one_type_has_no_content_of_another(kind: int, tmp_path: Path) -> None:
    contents = {
        1: field(2, 1.0),
        2: field(3, 1),
        3: field(4, "s"),
        4: field(5, tensor("", np.ones(1, np.float32))),
        6: field(7, 1.0),
        7: field(8, 1),
        8: field(9, "s"),
    }
    for other, content in contents.items():
        made = contents[kind] + (content if other != kind else b"")
        one = node("A", [], ["y"]) + field(5, field(1, "k") + made + field(20, kind))
        path = stored(tmp_path, model(graph([one], outputs=["y"])))
        if other == kind:
            assert read(path).topology is not None
        else:
            with pytest.raises(WeightsError, match=f"attribute 'k' contradicts its type, {kind}"):
                read(path)


def test_a_shape_of_too_many_sizes_is_called_a_shape() -> None:
    with pytest.raises(ValueError, match="^shape: expected a list of at most 32 sizes"):
        openvino_constants.parse_shape(",".join("1" * 33))


def test_layers_and_edges_count_only_where_an_ir_has_them(tmp_path: Path) -> None:
    elsewhere = b"<edge/><layer/><port/>"
    net = b'<net name="n" version="11"><layers><note/></layers><edges><note/></edges><rt_info>%s'
    found = xml_net.parse_net(opened(tmp_path, net % elsewhere + b"</rt_info></net>"))
    assert (found.name, found.layers, found.edges) == ("n", [], [])


def test_an_ir_without_a_version_is_named_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the root is 'net', version ''; readable"):
        xml_net.parse_net(opened(tmp_path, b"<net name='n'/>"))


# TensorFlow.


@pytest.mark.parametrize(
    "version",
    [b"", message(3, b""), message(3, number(1, 1) + number(2, 1))],
    ids=["none", "empty", "readable by the first reader"],
)
def test_a_bundle_need_not_say_more_of_its_version_than_a_reader_needs(
    version: bytes, tmp_path: Path
) -> None:
    bundle = Bundle({"w": ONE}, header=number(1, 1) + version)
    assert read(written(tmp_path, bundle)).tensors["w"].tolist() == [1, 1]


def test_a_tensor_without_a_shape_is_a_number(tmp_path: Path) -> None:
    data = struct.pack("<f", 2.5)
    entry = number(1, 1) + number(5, 4) + b"\x35" + masked_crc(data)
    header = number(1, 1)
    (tmp_path / "m.index").write_bytes(table_bytes([(b"", header), (b"w", entry)]))
    (tmp_path / "m.data-00000-of-00001").write_bytes(data)
    assert read(tmp_path / "m.index").tensors["w"].shape == ()


def test_tensors_of_other_types_are_named_by_their_type() -> None:
    others = [8, 11, 12, 13, 15, 16, 17, 18, 22, 23, 24]
    names = [Entry("w", number, (), 0, 0, 0, 0).type_name for number in others]
    assert names == [
        *("complex64", "qint8", "quint8", "qint32", "qint16", "quint16", "uint16"),
        *("complex128", "uint32", "uint64", "type 24"),
    ]


def test_a_string_that_no_file_could_hold_is_refused(tmp_path: Path) -> None:
    lengths = struct.pack("<Q", 2**32)
    data = varint(2**32) + masked_crc(lengths)
    strings = Stored(7, (1,), data, masked_crc(lengths + masked_crc(lengths)))
    with pytest.raises(WeightsError, match="'s': the lengths of its strings do not fit"):
        read(written(tmp_path, Bundle({"s": strings})))


def test_a_block_may_not_reach_into_the_footer() -> None:
    for size in (100 - 4, 100, 100 + FOOTER_BYTES - 5):
        footer = (varint(0) + varint(size) + varint(0) + varint(0)).ljust(40, b"\0") + MAGIC
        with pytest.raises(ValueError, match=f"a block of {size} bytes at byte 0 reaches into"):
            list(read_table(bytes(100) + footer))


def test_an_archive_without_members_says_that_it_has_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"Its first members are none\b"):
        read(stored(tmp_path, tar_gz_bytes([])))


def test_the_length_of_a_pax_record_has_at_most_eight_digits(tmp_path: Path) -> None:
    member = tar_bytes([("b", b"")])
    with pytest.raises(WeightsError, match="Its first members are 'a'"):
        read(stored(tmp_path, pax_bytes(b"00000016 path=a\n") + member))
    with pytest.raises(WeightsError, match="no record of a pax header at its byte 0"):
        read(stored(tmp_path, pax_bytes(b"000000017 path=a\n") + member))


def test_snappy_may_state_as_much_as_its_bytes_could_just_make() -> None:
    with pytest.raises(ValueError, match="64 bytes stated, 1 made"):
        unpack(b"\x40\0a", 64)
    with pytest.raises(ValueError, match="3 bytes state that they unpack to 65"):
        unpack(b"\x41\0a", 65)
