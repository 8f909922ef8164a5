"""The command that looks for missing tests: the mistakes it makes, and whether it sees them."""

from __future__ import annotations

import ast
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest

from tests.mutation.__main__ import EQUIVALENT
from tests.mutation.live import Loop
from tests.mutation.mutants import modules, mutants, mutated
from tests.mutation.observed import Observed
from tests.mutation.trial import ROOT, Finder


def mistakes(source):
    return [mutant.key.rpartition(" | ")[2] for mutant in mutants("m.py", source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["a < b -> a <= b"]),
        ("x = a == b", ["a == b -> a != b"]),
        ("x = a < b in c", ["a < b in c -> a <= b in c", "a < b in c -> a < b not in c"]),
        ("x = a and b", ["a and b -> a or b"]),
        ("x = not a", ["not a -> a"]),
        ("x = -a", ["-a -> a"]),
        ("x = a // b @ c", ["a // b @ c -> a // b * c", "a // b -> a * b"]),
        ("x += y", ["x += y -> x -= y"]),
        ("x = 3", ["3 -> 4"]),
        ("x = True", ["True -> False"]),
        ("x = 'key'", ["'key' -> 'keyX'"]),
        ("x = b'magic'", ["b'magic' -> b'magicX'"]),
        ("x = min(a, b)", ["min(a, b) -> max(a, b)"]),
        ("f(a)", ["f(a) -> pass"]),
        ("if a: b", ["a -> not a"]),
        ("if a == b: c", ["a == b -> not a == b"]),
        ("x = [a for a in b if c]", ["c -> not c"]),
        ("def f():\n return g", ["return g -> return None"]),
        ("while a:\n break", ["a -> not a", "break -> pass"]),
        ("raise ValueError('damaged')", ["raise ValueError('damaged') -> pass"]),
    ],
)
def test_each_kind_of_mistake_is_made_once_where_it_can_be(source, expected):
    assert mistakes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring'''",
        "x: tuple[int, 3]",
        "def f(a: b | c) -> d | e: '''Text'''",
        "@dataclass(frozen=True)\nclass A: pass",
        "__all__ = ['a']",
        "assert a < 3",
        "x = f'{a + 1}'",
        "x = 'two words'",
        "Kind = int | Name",
        "import a",
    ],
)
def test_what_changes_no_behaviour_or_only_text_is_left_alone(source):
    assert mistakes(source) == []


SOURCE = """
class Kind:
    def both(self, a, b):
        if a == 1 and b:
            return a + b
        return a + b
"""


def test_every_mutant_differs_from_the_source_in_its_own_way_and_has_its_own_name():
    found = mutants("m.py", SOURCE)
    texts = {ast.unparse(mutated(mutant, SOURCE)) for mutant in found}
    assert len(texts) == len(found) == len({mutant.key for mutant in found})
    assert ast.unparse(ast.parse(SOURCE)) not in texts
    assert found[0].key.startswith("Kind.both | if a == 1 and b: | ")


def test_a_mutant_of_another_source_is_no_mutant_of_this_one():
    last = mutants("m.py", SOURCE)[-1]
    with pytest.raises(ValueError, match=r"m\.py has no mutant"):
        mutated(last, "x = 1")


def test_names_stay_when_lines_move():
    moved = mutants("m.py", "# a line more\n" + SOURCE)
    assert [m.key for m in moved] == [m.key for m in mutants("m.py", SOURCE)]
    assert [m.line - 1 for m in moved] == [m.line for m in mutants("m.py", SOURCE)]


def test_the_tests_that_run_a_statement_come_first_and_then_the_rest_of_their_files():
    seconds = {"a::slow": 2.0, "a::quick": 1.0, "a::other": 0.1, "b::else": 0.1}
    *_, mutant = mutants("m.py", "def f():\n    return (g +\n        h)\n")
    lines = {"m.py": {1: [""], 2: ["a::slow"], 3: ["a::quick"]}}
    assert Observed(seconds, lines).tests_of(mutant) == ["a::quick", "a::slow", "a::other"]
    assert Observed(seconds, {}).tests_of(mutant) == []
    assert Observed(seconds, lines).tests_of(mutant, 3.0) == ["a::quick", "a::other"]
    assert Observed(seconds, lines).tests_of(mutant, 0.5) == ["a::quick", "a::other"]
    assert Observed(seconds, lines).tests_of(mutant, 0.05) == ["a::quick"]


def test_what_runs_on_import_is_tried_with_every_test_that_reaches_the_module():
    seconds = {"a::one": 2.0, "b::two": 1.0, "c::three": 1.0}
    (mutant,) = mutants("m.py", "LIMIT = 3\n")
    lines = {"m.py": {1: [""], 7: ["a::one"], 8: ["b::two"]}}
    assert Observed(seconds, lines).tests_of(mutant) == ["b::two", "a::one"]


def test_only_the_module_with_the_mistake_is_found_otherwise():
    path = "minimix/ops/head.py"
    (source,) = [(ROOT / name).read_text("utf-8") for name in modules(ROOT, (path,))]
    (mutant,) = [m for m in mutants(path, source) if " -> e * e.sum(" in m.key]
    finder = Finder(path, mutated(mutant, source))
    assert finder.find_spec("minimix.ops", None) is None
    spec = finder.find_spec("minimix.ops.head", None)
    scope = {}
    exec(spec.loader.get_code("minimix.ops.head"), scope)  # noqa: S102
    assert scope["softmax"](np.zeros((1, 2))).tolist() == [[2.0, 2.0]]


def test_a_package_is_found_by_its_own_name():
    finder = Finder("minimix/ops/__init__.py", ast.parse(""))
    assert finder.find_spec("minimix.ops", None).submodule_search_locations


def test_what_is_noticed_is_told_at_once_but_for_the_one_that_changes_nothing(monkeypatch):
    found, known, told = iter(["a::flaky", "a::one", "", "timeout"]), [], []

    def fork(*_):
        known.append(list(told))
        return next(found)

    monkeypatch.setattr("tests.mutation.live.gc.freeze", lambda: None)
    tries = [(name, {}, []) for name in ("as it is", "first", "second", "third")]
    loop = Loop(tries, lambda tests: 1.0, lambda mutant, how, _: told.append((mutant, how)))
    monkeypatch.setattr(loop, "_fork", fork)
    assert loop.pytest_runtestloop(SimpleNamespace(items=[]))
    assert known == [[], [], [("first", "a::one")], [("first", "a::one")]]
    assert told == [("first", "a::one"), ("third", "timeout")]
    assert [how for _, how, _ in loop.told()] == ["a::flaky", "a::one", "", "timeout"]


def test_every_mutant_that_is_called_equivalent_is_there_once():
    table = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    for path, reasons in table.items():
        keys = [key for reason in reasons for key in reason["mutants"]]
        there = {mutant.key for mutant in mutants(path, (ROOT / path).read_text("utf-8"))}
        assert len(keys) == len(set(keys)) and set(keys) <= there, path
