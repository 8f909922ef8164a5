"""House rules that a walk over the syntax trees can check: who imports whom, and how we write."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted(
    path for room in ("minimix", "weights_tools") for path in (ROOT / room).rglob("*.py")
)
FILES_OF_MINIMIX = [path for path in FILES if ROOT / "minimix" in path.parents]
LONGEST_MODULE = 350

# Room of minimix -> the rooms that it may import, and itself.  Rooms that are not named here
# (model, hub, inputs, cli, explorer, workflows) sit on top and may import any of these.
ALLOWED = {
    "errors": set(),
    "arrays": set(),
    "tolerances": set(),
    "cachedir": {"errors"},
    "limits": {"errors"},
    "network": {"errors"},
    "hub": {"cachedir", "errors", "files", "limits", "network", "transport", "weights"} | {"zoo"},
    "palette": set(),
    "png": set(),
    "mosaic": {"arrays"},
    "receptive": {"geometry", "graph", "operators"},
    "collapsed": {"graph", "operators"},
    "groups": {"arrays", "collapsed", "geometry", "graph", "operators", "params", "receptive"},
    "outputs": {"arrays"},
    "node_times": {"arrays", "engine", "graph"},
    "attribution": {"arrays", "errors", "graph", "ops", "results", "weights"},
    "results": {"arrays", "errors", "graph", "notebook", "operators", "ops"},
    "drawing": {"collapsed", "graph", "operators", "palette"},
    "stepping": {"arrays", "collapsed", "errors", "formulas", "groups", "images", "model", "mosaic"}
    | {"operators", "ops", "outputs", "receptive"},
    "transport": {"network"},
    "download": {"errors", "limits", "transport"},
    "cores": {"errors"},
    "unfinished": set(),
    "files": {"errors", "unfinished"},
    "dialect": {"errors"},
    "geometry": {"dialect", "errors"},
    "operators": {"dialect", "errors", "geometry"},
    "fused": {"errors", "operators"},
    "formulas": {"operators"},
    # A node shows itself in a notebook; of a graph, markup knows operators only.
    "markup": {"formulas", "operators", "palette"},
    "graph": {"operators", "errors", "markup"},
    "params": {"arrays", "errors", "graph"},
    "ops": {"arrays", "dialect", "errors", "fused", "geometry", "operators"},
    "passes": {"arrays", "errors", "fused", "graph", "operators", "params"},
    "zoo": {"dialect", "errors", "graph", "operators"},
    "engine": {"arrays", "dialect", "errors", "fused", "geometry", "graph", "operators", "ops"}
    | {"cachedir", "cores", "params", "passes", "unfinished"},
    "resize": {"arrays", "dialect", "errors"},
    "images": {"arrays", "dialect", "errors", "limits", "resize", "streams"},
    "labels": {"arrays", "dialect", "errors"},
    "streams": {"errors", "limits"},
    "hdf5": {"limits"},
    "weights": {"arrays", "dialect", "errors", "files", "graph", "hdf5", "limits", "params"}
    | {"zoo"},
}
KERNELS_MAY_IMPORT = {"numpy", "numba", "llvmlite"}
MAY_PRINT = (
    *("minimix/cli/", "minimix/__main__.py"),
    *("weights_tools/commands/", "weights_tools/pocket/"),
)
# Library -> the only places that import it.
HOMES = {
    "PIL": ("minimix/images.py", "minimix/explorer/pictures.py", "minimix/cli/doctor.py")
    + ("minimix/workflows/validation/confusion.py", "weights_tools/pocket/"),
    "h5py": ("minimix/weights.py", "minimix/cli/doctor.py", "minimix/workflows/feature_files.py"),
    "torch": ("weights_tools/pocket/", "weights_tools/torch_net.py", "weights_tools/peers.py"),
    "numba": ("minimix/engine/kernels/", "minimix/engine/compiled.py", "minimix/cli/doctor.py"),
    "llvmlite": ("minimix/engine/kernels/", "minimix/cli/doctor.py"),
    "rich": ("minimix/cli/",),
    "rich_argparse": ("minimix/cli/",),
    "shtab": ("minimix/cli/",),
    "requests": ("minimix/transport.py", "minimix/hub/fetch.py", "minimix/download.py"),
    "urllib3": ("minimix/transport.py",),
    "sklearn": ("minimix/workflows/finetuning/classifier.py",),
    "filelock": ("minimix/hub/locks.py", "minimix/workflows/resuming/parts.py"),
    "dask": ("minimix/workflows/batching/cluster.py",),
    "distributed": ("minimix/workflows/batching/cluster.py",),
    "fsspec": ("minimix/workflows/batching/stores.py",),
    "psutil": ("minimix/workflows/batching/worker.py",),
    "tarfile": ("minimix/workflows/batching/tar_shards.py", "weights_tools/readers/"),
}


def relative(path):
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path):
    return ast.parse(path.read_text("utf-8"), relative(path))


@cache
def imports_of(path):
    """(line, full name) of everything imported anywhere in a file, inside functions too.

    ``from minimix import weights`` counts as ``minimix.weights``: the room is what matters.
    """
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: write the import in full"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def room_of(path):
    """``graph`` of minimix/graph.py, ``ops`` of minimix/ops/conv.py."""
    return path.relative_to(ROOT / "minimix").parts[0].removesuffix(".py")


def is_below(path, places):
    return relative(path).startswith(places)


def test_there_is_something_to_walk():
    names = {relative(path) for path in FILES}
    assert {"minimix/graph.py", "minimix/ops/conv.py", "weights_tools/__init__.py"} <= names
    assert all((ROOT / "minimix" / room).exists() or (ROOT / "minimix" / f"{room}.py").exists()
               for room in ALLOWED)  # fmt: skip


@pytest.mark.parametrize("path", FILES_OF_MINIMIX, ids=relative)
def test_imports_point_one_way(path):
    room = room_of(path)
    targets = [
        (line, name.split(".")[1])
        for line, name in imports_of(path)
        if name.startswith("minimix.") and room in ALLOWED
    ]
    wrong = [
        f"{relative(path)}:{line}: {room} imports {target}"
        for line, target in targets
        if target not in ALLOWED[room] | {room}
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES_OF_MINIMIX, ids=relative)
def test_only_the_hub_and_the_benchmark_import_weights_tools(path):
    roots = {name.split(".")[0] for _, name in imports_of(path)}
    if "weights_tools" in roots:
        assert relative(path) in {"minimix/hub/obtain.py", "minimix/cli/bench.py"}
        at_the_top = {ast.unparse(node) for node in tree_of(path).body}
        assert not [line for line in at_the_top if line.startswith("from weights_tools")]


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_the_two_command_lines_import_the_command_line(path):
    if any(f"{name}.".startswith("minimix.cli.") for _, name in imports_of(path)):
        ours = ("minimix/cli/", "minimix/__main__.py")
        assert is_below(path, (*ours, "weights_tools/commands/", "weights_tools/__main__.py"))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_library_is_imported_only_at_its_home(path):
    wrong = [
        f"{relative(path)}:{line}: {name} belongs to {', '.join(HOMES[name.split('.')[0]])}"
        for line, name in imports_of(path)
        if name.split(".")[0] in HOMES and not is_below(path, HOMES[name.split(".")[0]])
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_imports_a_star_or_the_tests(path):
    names = [name for _, name in imports_of(path)]
    assert not [name for name in names if name.endswith(".*") or name.split(".")[0] == "tests"]


def test_kernels_import_numpy_numba_and_llvmlite_only():
    for path in FILES:
        if is_below(path, "minimix/engine/kernels/"):
            names = {name for _, name in imports_of(path)}
            ours = ("minimix.engine.kernels", "minimix.cachedir", "minimix.unfinished")
            others = {n.split(".")[0] for n in names if not n.startswith(ours)}
            assert others - sys.stdlib_module_names <= KERNELS_MAY_IMPORT, relative(path)


def test_only_the_engine_knows_the_kernels_and_the_reference_engine_does_not():
    plain = ("minimix/engine/reference.py",)
    for path in FILES:
        if any(name.startswith("minimix.engine.kernels") for _, name in imports_of(path)):
            assert is_below(path, ("minimix/engine/",)), relative(path)
            assert not is_below(path, plain), relative(path)


def test_importing_the_model_and_the_reference_engine_loads_no_compiler():
    code = (
        "import sys, minimix.model, minimix.engine.reference\n"
        "print(sorted({'numba', 'llvmlite', 'torch', 'weights_tools'} & sys.modules.keys()))"
    )
    run = [sys.executable, "-c", code]
    answer = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def prints_or_exits(node):
    """Whether a call is print(...), exit(...), quit(...), sys.exit(...) or os._exit(...)."""
    if not isinstance(node, ast.Call):
        return False
    return ast.unparse(node.func) in {"print", "exit", "quit", "sys.exit", "os._exit"}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_the_command_lines_print_or_exit(path):
    lines = [node.lineno for node in ast.walk(tree_of(path)) if prints_or_exits(node)]
    assert lines == [] or is_below(path, MAY_PRINT)


def swallows(handler):
    """Whether an ``except`` catches everything, or catches a lot and says nothing."""
    if handler.type is None:
        return True
    names = {ast.unparse(node) for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    broad = bool(names & {"Exception", "BaseException"})
    silent = all(
        isinstance(node, ast.Pass | ast.Continue)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in handler.body
    )
    return broad and silent


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_exception_is_swallowed(path):
    handlers = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ExceptHandler)]
    assert [handler.lineno for handler in handlers if swallows(handler)] == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_error_that_is_caught_is_suppressed_wholesale(path):
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    wide = [
        call.lineno
        for call in calls
        if ast.unparse(call.func) in {"suppress", "contextlib.suppress"}
        and {ast.unparse(argument) for argument in call.args} & {"Exception", "BaseException"}
    ]
    assert wide == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_modules_are_small_enough_to_hold_in_the_head(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_module_says_what_it_is_in_its_first_line(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring
    assert docstring.splitlines()[0]
