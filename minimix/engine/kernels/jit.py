"""The compiler and its options: LLVM as Numba brings it.  IR text in, machine code out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import llvmlite
import llvmlite.binding as llvm

from minimix.engine.kernels.builder import Emitter, Kernel, module_text


def host() -> tuple[str, ...]:
    """What code for this machine depends on: the compiler's version, processor and features."""
    features = sorted(name for name, has in llvm.get_host_cpu_features().items() if has)
    triple = llvm.get_process_triple()
    return llvmlite.__version__, triple, llvm.get_host_cpu_name(), ",".join(features)


def target_machine(cpu: str | None = None, features: str | None = None) -> llvm.TargetMachine:
    """The host's machine, or one that is named, as LLVM names processors and features."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name() if cpu is None else cpu,
        features=llvm.get_host_cpu_features().flatten() if features is None else features,
        opt=3,
        jit=True,
    )


def _parse(text: str, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    return module


def compile_kernels(
    kernels: Iterable[Emitter], width: int, *, wide_x86: bool
) -> Iterator[tuple[str, bytes]]:
    """Kernels -> their names and objects, one after the other as they are done.

    A kernel is written the way it shall run, with explicit vectors and unrolled loops.  LLVM's
    whole pipeline finds nothing to improve (the same times on MixNet-S and XL, at 4, 8 and 16
    floats), and takes ten times as long as the passes that are needed here: variables become
    registers, and what that makes redundant goes.
    """
    machine = target_machine()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    for kernel in kernels:
        k = Kernel(kernel.name, width, wide_x86=wide_x86)
        kernel.emit(k)
        module = _parse(module_text([k]), machine)
        passes.run(module, llvm.create_pass_builder(machine, options))
        yield kernel.name, bytes(machine.emit_object(module))


def compile_exported(text: str, export: str) -> bytes:
    """IR -> an object in which one function can be seen, with all that it calls.

    Raises:
        RuntimeError: something that it needs is nowhere in the text.
    """
    machine = target_machine()
    module = _parse(text, machine)
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != export:
            value.linkage = "internal"
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    absent = [
        value.name
        for value in (*module.functions, *module.global_variables)
        if value.is_declaration and not value.name.startswith("llvm.")
    ]
    if absent:
        # LLVM's loader would end the process.
        raise RuntimeError(f"{export}: needs {', '.join(absent)}, which Numba keeps to itself")
    return bytes(machine.emit_object(module))


class Library:
    """Machine code in memory, for as long as this object lives."""

    def __init__(self, objects: Iterable[bytes]) -> None:
        machine = target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for data in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where a function begins."""
        return int(self._engine.get_function_address(name))
