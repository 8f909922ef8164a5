"""The bytes of a pickle as a list of instructions: decoded, bounded, nothing run.

``pickletools`` of the standard library knows how the argument of each opcode is written; the
limits here are what keeps a crafted file from filling the memory while it is only being read.
"""

from __future__ import annotations

import mmap
import pickletools
from typing import IO, Any, cast

from minimix.errors import WeightsError
from minimix.limits import in_force

MAX_OPCODES = 400_000
"""The longest program accepted; that of mixnet-s has 16 thousand instructions."""

MAX_PICKLE_BYTES = 64 * 2**20
"""The most bytes of pickle accepted in one file; mixnet-s has 74 thousand."""

MAX_TEXT_BYTES = 2**16
"""The longest text or number accepted inside a pickle."""

ADVICE = (
    "A plain state dict needs neither more nor other: ask the publisher for safetensors, or save "
    "model.state_dict() alone where the file is trusted"
)
TRUNCATED = "The file is damaged, or no state dict: download it again and compare its sha256"


Instruction = tuple[str, Any, int]
"""Opcode name, decoded argument, position in the file in bytes."""

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_LINES = {"GLOBAL": 2, "INST": 2, "STRING": 1, "PERSID": 1}
"""Opcodes whose argument is that many lines of text: the module and the name of a global."""


class PickleStream:
    """Bytes with a position, as ``pickletools`` reads them, with every length bounded.

    Args:
        data: the bytes; a mapped file is not copied.
        where: named in errors: the file, and the member of an archive.
        start: position of the first pickle, in bytes.
    """

    def __init__(self, data: bytes | mmap.mmap, where: str, start: int = 0) -> None:
        self._data, self._where = data, where
        self._most_bytes = most_pickle_bytes()
        self._position, self._limit = start, start + self._most_bytes

    def fail(self, problem: str) -> WeightsError:
        """Return the error that names the file; the caller raises it."""
        return WeightsError(f"{self._where}: {problem}")

    def tell(self) -> int:
        """Position of the next byte."""
        return self._position

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes: fewer at the end of the data."""
        if size > MAX_TEXT_BYTES or self._position + size > self._limit:
            raise self.fail(
                f"byte {self._position}: a pickled text of {size} bytes; accepted are "
                f"{MAX_TEXT_BYTES}, and {self._most_bytes} in all (MINIMIX_MAX_PICKLE_BYTES). "
                f"{ADVICE}"
            )
        piece = self._data[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def readline(self) -> bytes:
        """Return the bytes up to and with the next line feed; ValueError where none comes soon."""
        piece = self._data[self._position : self._position + MAX_TEXT_BYTES]
        length = piece.find(b"\n") + 1
        if length == 0:
            raise ValueError("a line without its end")
        return self.read(length)


def decode(stream: PickleStream) -> list[Instruction]:
    """Pickle -> its instructions up to STOP, those that ``check`` would refuse included."""
    instructions: list[Instruction] = []
    frame_end, most = 0, _most_opcodes()
    while len(instructions) < most:
        instruction = _next_instruction(stream)
        instructions.append(instruction)
        frame_end = _checked_frame(stream, instruction, frame_end)
        if instruction[0] == "STOP":
            return instructions
    raise stream.fail(
        f"the pickle has more than {most} instructions (MINIMIX_MAX_OPCODES). {ADVICE}"
    )


def most_pickle_bytes() -> int:
    """Bytes of pickle that are accepted: see ``MAX_PICKLE_BYTES``."""
    return in_force("MINIMIX_MAX_PICKLE_BYTES", MAX_PICKLE_BYTES)


def _most_opcodes() -> int:
    return in_force("MINIMIX_MAX_OPCODES", MAX_OPCODES)


def _checked_frame(stream: PickleStream, instruction: Instruction, frame_end: int) -> int:
    """Return where the frame ends that the stream is in, or 0: frames hold whole instructions."""
    opcode, argument, position = instruction
    if frame_end and (opcode == "FRAME" or stream.tell() > frame_end):
        raise stream.fail(
            f"byte {position}: {opcode} reaches over the end of its frame, byte {frame_end}. "
            f"{TRUNCATED}"
        )
    if opcode == "FRAME":
        frame_end = stream.tell() + argument
    if stream.tell() == frame_end:
        return 0
    if opcode == "STOP" and frame_end:
        raise stream.fail(
            f"byte {position}: the pickle ends inside of a frame, which goes on to byte "
            f"{frame_end}. {TRUNCATED}"
        )
    return frame_end


def list_globals(data: bytes | mmap.mmap, pickles: int = 1) -> list[str]:
    r"""Bytes that start with pickles -> dotted globals these name, as far as they decode.

    >>> list_globals(b"cos\nsystem\n(S'ls'\ntR.")
    ['os.system']
    """
    stream = PickleStream(data, "pickle")
    instructions: list[Instruction] = []
    most = _most_opcodes()
    while pickles and len(instructions) < most:
        try:
            instructions.append(_next_instruction(stream))
        except WeightsError:
            # Damage is for the reader to report; what was named before it is still of interest.
            break
        pickles -= instructions[-1][0] == "STOP"
    return globals_named(instructions)


def globals_named(instructions: list[Instruction]) -> list[str]:
    """Instructions -> dotted names of the globals, each once, in order of appearance.

    STACK_GLOBAL takes its two names from the stack; the last two texts pushed are assumed.  The
    guess serves messages only: ``execute`` looks up what really lies on the stack.
    """
    names: dict[str, None] = {}
    texts: list[Any] = [None, None]
    memo: dict[int, Any] = {}
    pushed: Any = None
    for opcode, argument, _ in instructions:
        if opcode in ("GLOBAL", "INST"):
            names[argument] = None
        elif opcode == "STACK_GLOBAL":
            names[f"{texts[-2]}.{texts[-1]}"] = None
        elif opcode in ("EXT1", "EXT2", "EXT4"):
            names[f"copyreg extension {argument}"] = None
        elif opcode in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if opcode == "MEMOIZE" else argument] = pushed
            continue
        if opcode in ("BINGET", "LONG_BINGET"):
            pushed = memo.get(argument)
        else:
            pushed = argument if opcode.endswith(("UNICODE", "STRING")) else None
        if pushed is not None:
            texts = [texts[-1], pushed]
    return list(names)


def _next_instruction(stream: PickleStream) -> Instruction:
    position = stream.tell()
    code = stream.read(1)
    if not code:
        raise stream.fail(f"the pickle ends at byte {position} without its STOP. {TRUNCATED}")
    opcode = _OPCODES.get(chr(code[0]))
    if opcode is None:
        raise stream.fail(f"byte {position}: 0x{code.hex()} is no pickle opcode. {TRUNCATED}")
    if opcode.arg is None:
        return opcode.name, None, position
    try:
        if opcode.name in _LINES:
            # Unlike the unpickler, pickletools would decode escapes in these, with warnings.
            lines = [stream.readline()[:-1].decode("utf-8") for _ in range(_LINES[opcode.name])]
            return opcode.name, ".".join(lines), position
        # The readers call read and readline, and nothing else of a file.
        return opcode.name, opcode.arg.reader(cast(IO[bytes], stream)), position
    except ValueError as error:
        # pickletools quotes the whole text that is no number.
        problem = f"byte {position}: {opcode.name}: {str(error)[:200]}"
        raise stream.fail(f"{problem}. {TRUNCATED}") from error
