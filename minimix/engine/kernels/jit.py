"""The compiler and its options: LLVM as Numba brings it.  IR text in, machine code out."""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.binding as llvm

from minimix.engine.kernels.builder import Emitter, Kernel, module_text


def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def target_machine(cpu: str | None = None, features: str | None = None) -> llvm.TargetMachine:
    """The host's machine, or one that is named, as LLVM names processors and features."""
    _initialize()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name() if cpu is None else cpu,
        features=llvm.get_host_cpu_features().flatten() if features is None else features,
        opt=3,
        jit=True,
    )


def compile_kernels(kernels: Sequence[Emitter], width: int, *, wide_x86: bool) -> bytes:
    """Kernels -> one object file.

    The loop and straight-line vectorisers stay off: the vectors are explicit already.
    """
    machine = target_machine()
    written = []
    for kernel in kernels:
        k = Kernel(kernel.name, width, wide_x86=wide_x86)
        kernel.emit(k)
        written.append(k)
    module = llvm.parse_assembly(module_text(written))
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return bytes(machine.emit_object(module))


class Library:
    """Machine code in memory, for as long as this object lives."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        machine = target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for data in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a kernel begins."""
        return int(self._engine.get_function_address(name))
