"""The restricted unpickler: what it builds, what it refuses, and that it runs nothing."""

from __future__ import annotations

import os
import pickle
import pickletools
import subprocess
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.errors import WeightsError
from tests.checkpoint_writers import Global, Storage, Tensor, pickled, state_dict
from weights_tools.readers import pickle_program
from weights_tools.readers.pickle_program import PickleStream
from weights_tools.readers.torch_objects import ALLOWED_GLOBALS, StorageTable, TensorStub
from weights_tools.readers.unpickler import list_globals, load

VALUES = np.arange(6, dtype=np.float32)


def unpickle(data: bytes) -> Any:
    return load(PickleStream(data, "x.pth"), ALLOWED_GLOBALS, StorageTable().persistent_load)


class Call:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_state_dict_becomes_stubs_in_order(protocol: int) -> None:
    data, _ = pickled(state_dict({"b.weight": VALUES.reshape(2, 3), "a": VALUES}), protocol)
    loaded = unpickle(data)
    assert list(loaded) == ["b.weight", "a"]
    stub = loaded["b.weight"]
    assert isinstance(stub, TensorStub)
    assert (stub.scalar, stub.offset, stub.shape, stub.strides) == ("float32", 0, (2, 3), (3, 1))
    assert (stub.storage.key, stub.storage.count) == ("0", 6)


def test_parameters_sizes_old_tensors_and_plain_values_are_read() -> None:
    storage = Storage("k", VALUES)
    parameter = Call(Global("torch._utils", "_rebuild_parameter"), Tensor(storage, (6,)), True, {})
    old = Call(Global("torch._utils", "_rebuild_tensor"), storage, 2, (4,), (1,))
    content = {"p": parameter, "o": old, "s": Call(Global("torch", "Size"), (2, 3)), 7: [1.5, None]}
    loaded = unpickle(pickled(content)[0])
    assert loaded["p"].shape == (6,) and loaded["o"].extent == (8, 24)
    assert loaded["s"] == (2, 3) and loaded[7] == [1.5, None]


def test_an_untyped_storage_takes_its_type_from_the_tensor() -> None:
    storage = Storage("k", VALUES.view(np.uint8))
    storage.type = Global("torch.storage", "UntypedStorage")
    rebuild = Global("torch._utils", "_rebuild_tensor_v3")
    tensor = Call(rebuild, storage, 0, (6,), (1,), False, {}, Global("torch", "float32"))
    stub = unpickle(pickled({"t": tensor})[0])["t"]
    assert (stub.scalar, stub.extent) == ("float32", (0, 24))


def test_python_2_wrote_ordered_dicts_as_pairs_and_names_as_bytes() -> None:
    data = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R."
    assert unpickle(data) == {"a": 1, "b": 2}


def _text(text: str) -> bytes:
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


MARKER = "ran"
ATTACKS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda p: pickle.dumps({"w": Call(os.system, f"touch {p}")}, 2),
    "subprocess.Popen": lambda p: pickle.dumps(Call(subprocess.Popen, ["touch", p]), 2),
    "builtins.eval": lambda p: pickle.dumps(Call(eval, f"__import__('os').mkdir({p!r})"), 4),
    "builtins.getattr": lambda p: (
        b"\x80\x02cbuiltins\ngetattr\ncbuiltins\n__import__\nX\x02\0\0\0os\x85R"
        b"X\x06\0\0\0system\x86R" + _text(f"touch {p}") + b"\x85R."
    ),
    "protocol 0": lambda p: f"cos\nsystem\n(S'touch {p}'\ntR.".encode(),
    "INST": lambda p: f"(S'touch {p}'\nios\nsystem\n.".encode(),
    "OBJ": lambda p: f"(cos\nsystem\nS'touch {p}'\no.".encode(),
    "NEWOBJ": lambda p: b"\x80\x02cos\nsystem\n" + _text(f"touch {p}") + b"\x85\x81.",
    "extension": lambda p: b"\x80\x02\x82\x01)R.",
    "dotted": lambda p: b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93)R.",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_global_outside_of_the_list_is_named_and_nothing_runs(name: str, tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    data = ATTACKS[name](str(marker))
    refused = [found for found in list_globals(data) if found not in ALLOWED_GLOBALS]
    assert refused
    with pytest.raises(WeightsError, match=f"(?s)asks to import.*{refused[0]}.*nothing was run"):
        unpickle(data)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.getattr", "INST", "OBJ"])
def test_the_attacks_do_run_in_pythons_own_unpickler(name: str, tmp_path: Path) -> None:
    """Otherwise the markers above would prove nothing."""
    marker = tmp_path / MARKER
    pickle.loads(ATTACKS[name](str(marker)))
    assert marker.exists()


def test_names_with_backslashes_are_taken_as_they_are() -> None:
    """pickletools would decode the escape to ``os``, and warn of the other."""
    data = b"c\\x6fs\nsystem\\d\n)R."
    assert list_globals(data) == ["\\x6fs.system\\d"]
    with pytest.raises(WeightsError, match="asks to import"):
        unpickle(data)


def test_texts_cannot_be_taken_off_the_stack_to_mislead_the_scan() -> None:
    misleading = (
        b"\x80\x04\x8c\x02os\x8c\x06system"  # what STACK_GLOBAL shall find
        b"\x8c\x0bcollections\x8c\x0bOrderedDict\x86"  # what the scan sees last, as one tuple
        b"0\x93)R."  # which POP takes off again
    )
    assert list_globals(misleading) == ["collections.OrderedDict"]
    with pytest.raises(WeightsError, match="POP is refused"):
        unpickle(misleading)


def test_the_guard_is_the_table_even_if_the_scan_saw_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr("weights_tools.readers.unpickler.globals_named", lambda _: [])
    with pytest.raises(WeightsError, match=r"the global 'os\.system' is refused"):
        unpickle(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.")


def test_build_takes_the_metadata_of_a_state_dict_and_nothing_else() -> None:
    head = b"\x80\x02ccollections\nOrderedDict\n)R"
    assert unpickle(head + b"}X\x09\0\0\0_metadata}sb.") == {}
    with pytest.raises(WeightsError, match="other attributes than a state dict's _metadata"):
        unpickle(head + b"}X\x09\0\0\0__class__}sb.")
    with pytest.raises(WeightsError, match="BUILD: expected a dict"):
        unpickle(b"\x80\x02ccollections\nOrderedDict\n}X\x09\0\0\0_metadata}sb.")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "ends at byte 0 without its STOP"),
        (b"\x80\x02}", "ends at byte 3 without its STOP"),
        (b"\x80\x02X\x05\0\0\0ab", "BINUNICODE"),
        (b"\x80\x06N.", "protocol 6; expected at most 5"),
        (b"\x80\x02\xff.", "0xff is no pickle opcode"),
        (b"\x80\x02R.", "takes more from the stack"),
        (b"\x80\x02N(t\x85.", "leaves 2 objects"),
        (b"\x80\x02N(.", "leaves 1 objects"),
        (b"\x80\x02t.", "no MARK"),
        (b"\x80\x02h\x07.", "memo 7 was never set"),
        (b"\x80\x02}(NNu.", "as key, found NoneType"),
        (b"\x80\x02})K\x01s.", "as key, found tuple"),
        (b"\x80\x02}(K\x01Nu(K\x01Nu.", "key '1' comes twice"),
        (b"\x80\x02}(Nu.", "a key without its value"),
        (b"\x80\x02]NNs.", "expected a dict on the stack, found list"),
        (b"\x80\x02N)R.", "NoneType cannot be called"),
        (b"\x80\x02NQ.", "expected a storage of 5 or 6 fields"),
        (b"\x80\x02Pabc\n.", "opcode PERSID is refused"),
        (b"\x80\x02I12\n.", "opcode INT is refused"),
    ],
)
def test_a_damaged_or_foreign_pickle_is_one_clear_error(data: bytes, problem: str) -> None:
    with pytest.raises(WeightsError, match=f"^x.pth: .*{problem}"):
        unpickle(data)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ((0, (7,), (1,)), "ends at byte 28 of its storage, which has 24"),
        ((1, (6,), (1,)), "ends at byte 28"),
        ((0, (2**39, 2**39), (1, 1)), "more than 1099511627776 elements"),
        ((0, (2**70,), (1,)), "expected sizes in 0"),
        ((0, (-1,), (1,)), "expected sizes in 0"),
        ((0, (3,), (-1,)), "strides: expected sizes"),
        ((0, (1000,), (0,)), "overlaps itself"),
        ((0, (2, 3), (1, 1)), "overlaps itself"),
        ((-1, (2,), (1,)), "expected an offset"),
        ((0, (2,), (3, 1)), "expected an offset and a stride per dimension"),
        ((0, (1,) * 33, (1,) * 33), "at most 32"),
        ((True, (2,), (1,)), "expected an offset"),
    ],
)
def test_a_view_that_its_storage_does_not_hold_is_refused(
    fields: tuple[Any, ...], problem: str
) -> None:
    offset, shape, strides = fields
    tensor = Tensor(Storage("0", VALUES), shape, strides, offset)
    with pytest.raises(WeightsError, match=problem):
        unpickle(pickled({"w": tensor})[0])


def test_one_storage_under_two_types_is_refused() -> None:
    tensors = [Tensor(Storage("0", VALUES.view(kind)), (6,)) for kind in ("float32", "int32")]
    with pytest.raises(WeightsError, match="named with two types or lengths"):
        unpickle(pickled(tensors)[0])


def test_limits_hold_before_memory_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    long_text = b"\x80\x02X\xff\xff\xff\x7f" + b"a" * 100
    with pytest.raises(WeightsError, match="a pickled text of 2147483647 bytes"):
        unpickle(long_text)
    assert unpickle(b"\x80\x02Nr\xff\xff\xff\xff.") is None  # a memo index of 4 thousand million
    monkeypatch.setattr(pickle_program, "MAX_OPCODES", 10)
    with pytest.raises(WeightsError, match="more than 10 instructions"):
        unpickle(b"\x80\x02" + b"]" * 20 + b".")


def test_depth_and_sharing_cost_neither_recursion_nor_time() -> None:
    deep = unpickle(b"\x80\x02)" + b"\x85" * 200_000 + b".")
    assert type(deep) is tuple
    # Forty doublings: as a dict key, hashing this would take 2 ** 40 steps.
    doubled = b"\x80\x02)" + b"q\x00h\x00\x86" * 40
    with pytest.raises(WeightsError, match="as key, found tuple"):
        unpickle(b"\x80\x02}" + doubled[2:] + b"Ns.")


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
NAMES = [
    b"ccollections\nOrderedDict\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n",
    b"\x85",
    b"}",
]


@given(st.lists(st.sampled_from(OPCODES + NAMES * 3) | st.binary(max_size=3), max_size=40))
def test_any_program_ends_in_an_object_or_a_weights_error(pieces: list[bytes]) -> None:
    data = b"\x80\x02" + b"".join(pieces) + b"."
    list_globals(data)
    try:
        unpickle(data)
    except WeightsError as error:
        assert str(error).startswith("x.pth: ")


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(plain, st.sampled_from([2, 3, 4, 5]))
def test_plain_objects_come_back_as_python_pickled_them(value: Any, protocol: int) -> None:
    assert unpickle(pickle.dumps(value, protocol)) == value


def test_an_ordered_dict_comes_back_with_its_items() -> None:
    content = OrderedDict([("z", 1), ("a", (2, 3))])
    assert list(unpickle(pickle.dumps(content, 2)).items()) == list(content.items())
