"""The kernels are LLVM IR for any processor: each is compiled here for machines that this is not.

That the code computes correctly is shown where it can run: ``test_compiled_engine.py``, at every
vector width that this processor has.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import llvmlite.binding as llvm
import pytest

from minimix.dialect import DIALECTS
from minimix.engine.draft import Machine
from minimix.engine.kernels.builder import Kernel, module_text
from minimix.engine.planner import plan
from minimix.passes import optimize
from minimix.zoo import architecture, build
from tests.strategies import random_params


@dataclass(frozen=True)
class Target:
    """A machine as LLVM names it, and what its code looks like.

    Attributes:
        elf: its number in an ELF object's header; 0 where objects are others.
        products: an instruction on whole vectors, which the kernels consist of.
        too_wide: a register that it does not have.
        call: an instruction that leaves a kernel; nothing would be there.
    """

    triple: str
    cpu: str
    features: str
    width: int
    registers: int
    elf: int
    products: str
    too_wide: str
    call: str


_ARM, _X86 = "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"
_APPLE = "arm64-apple-macosx11.0.0"
_ARM_CALL, _X86_CALL = r"\sblr?\s", r"\scall"
TARGETS = {
    "aarch64, NEON": Target(
        _ARM, "generic", "+neon", 4, 32, 183, r"fmla\tv\d+\.4s", r"\bz\d+\.s", _ARM_CALL
    ),
    "aarch64, Apple": Target(
        _APPLE, "apple-m1", "", 4, 32, 0, r"fmla(\.4s)?\tv", r"\bz\d+\.s", _ARM_CALL
    ),
    "x86-64, baseline": Target(
        _X86, "x86-64", "", 4, 16, 62, r"\smulps\t.*%xmm", "%ymm", _X86_CALL
    ),
    "x86-64, AVX2": Target(
        _X86, "x86-64-v3", "", 8, 16, 62, r"vfmadd\d+ps\t.*%ymm", "%zmm", _X86_CALL
    ),
    "x86-64, AVX-512": Target(
        _X86, "x86-64-v4", "", 16, 32, 62, r"vfmadd\d+ps\t.*%zmm", "%tmm", _X86_CALL
    ),
}


def machine_of(target):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="default", codemodel="default"
    )


def module_of(target, machine):
    """Every kernel of the embedded network as one module, prepared as for this machine."""
    graph = build(architecture("mixnet-pocket"), DIALECTS["timm"])
    graph, _ = optimize(graph, random_params(graph, 1))
    found = plan(graph, 64, 64, Machine(target.width, target.registers, 2)).kernels
    written = []
    for kernel in found.values():
        written.append(Kernel(kernel.name, target.width, wide_x86=target.width == 16))
        kernel.emit(written[-1])
    module = llvm.parse_assembly(module_text(written))
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    passes.run(module, llvm.create_pass_builder(machine, options))
    return module, list(found)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_kernel_compiles_to_vectors_of_the_machine_and_calls_nothing(target):
    machine = machine_of(target)
    module, names = module_of(target, machine)
    text = machine.emit_assembly(module)
    for name in names:
        assert re.search(rf"^_?{re.escape(name)}:", text, re.M), name
    assert len(re.findall(target.products, text)) > 100
    assert not re.search(target.too_wide, text)
    assert not re.search(target.call, text)
    code = bytes(machine.emit_object(module))
    if target.elf:
        assert code[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", code, 18) == (target.elf,)
