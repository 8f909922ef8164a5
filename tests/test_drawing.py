"""The graph drawn: nothing overlaps, nothing is missing, and the documents can be read."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minimix.collapsed import collapse
from minimix.dialect import DIALECTS
from minimix.drawing import dot, svg
from minimix.drawing.layout import draw
from minimix.drawing.rows import rows_of
from minimix.drawing.shapes import Area
from minimix.palette import KERNEL_COLOURS
from minimix.zoo import FAMILIES, architecture, build
from tests.cli import run

CASES = [("mixnet-pocket", 96), ("mixnet-s", 224), ("mixnet-l", 224), ("mixnet-xxl", 512)]
SVG = "{http://www.w3.org/2000/svg}"


@cache
def graph_of(name, dialect="timm"):
    return build(architecture(name), DIALECTS[dialect])


@cache
def drawing(name, size):
    return draw(graph_of(name), size)


def segments(line):
    """The straight parts of a line, as areas one pixel wide."""
    for (x0, y0), (x1, y1) in zip(line.points, line.points[1:], strict=False):
        yield Area(min(x0, x1), min(y0, y1), abs(x1 - x0) or 1, abs(y1 - y0) or 1)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_boxes_and_signs_do_not_intersect(name, size):
    sheet = drawing(name, size)
    areas = [box.area for box in sheet.boxes if box.css != "swatch"]
    areas += [sign.area for sign in sheet.signs]
    assert [pair for pair in combinations(areas, 2) if pair[0].meets(pair[1])] == []


@pytest.mark.parametrize(("name", "size"), CASES)
def test_texts_overlap_neither_each_other_nor_the_edge_of_a_box(name, size):
    sheet = drawing(name, size)
    areas = [box.area for box in sheet.boxes] + [sign.area for sign in sheet.signs]
    labels = [(label.text, label.area) for label in sheet.labels]
    assert [(a[0], b[0]) for a, b in combinations(labels, 2) if a[1].meets(b[1])] == []
    for text, area in labels:
        touched = [other for other in areas if other.meets(area)]
        assert [other for other in touched if not other.holds(area)] == [], text


@pytest.mark.parametrize(("name", "size"), CASES)
def test_no_line_runs_through_a_text(name, size):
    sheet = drawing(name, size)
    lines = [area for line in sheet.lines for area in segments(line)]
    labels = [(label.text, label.area) for label in sheet.labels]
    assert [text for text, area in labels if any(line.meets(area) for line in lines)] == []


@pytest.mark.parametrize(("name", "size"), CASES)
def test_everything_lies_on_the_sheet(name, size):
    sheet = drawing(name, size)
    whole = Area(0, 0, sheet.width, sheet.height)
    areas = [shape.area for shape in (*sheet.boxes, *sheet.signs, *sheet.labels)]
    areas += [area for line in sheet.lines for area in segments(line)]
    assert all(whole.holds(area) for area in areas)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("dialect", ["timm", "tensorflow"])
def test_rows_hold_every_node_once_and_their_costs_are_the_graph_s(name, dialect):
    graph, size = graph_of(name, dialect), FAMILIES[name].size
    rows = rows_of(graph, size)
    assert [part.node for row in rows for part in row.parts] == list(collapse(graph))
    assert sum(row.macs for row in rows) == sum(graph.macs(size, size).values())
    assert sum(row.parameters for row in rows) == sum(map(graph.param_count, graph))
    blocks = [stage for stage in graph.stages if stage.startswith("blocks.")]
    assert [row.name for row in rows] == ["stem", *blocks, "head"]


def test_a_mixconv_has_a_lane_for_each_group_labelled_by_size_and_channels():
    sheet = drawing("mixnet-s", 224)
    lanes = [box for box in sheet.boxes if box.css == "lane"]
    mixconvs = [node for node in graph_of("mixnet-s") if node.kind == "mixconv"]
    assert [lane.kernel for lane in lanes] == [k for node in mixconvs for k in node.kernel_sizes]
    for lane in lanes:
        inside = [label.text for label in sheet.labels if lane.area.holds(label.area)]
        assert len(inside) == 1 and inside[0].startswith(f"{lane.kernel}×{lane.kernel}  ")


def test_residuals_and_gates_are_drawn_where_the_graph_has_them():
    sheet, graph = drawing("mixnet-s", 224), graph_of("mixnet-s")
    adds = sum(node.kind == "add" for node in graph)
    gated = sum(node.kind == "squeeze_excite" for node in graph)
    assert sum(line.css == "residual" for line in sheet.lines) == adds
    assert sum(line.css == "gates" for line in sheet.lines) == 2 * gated
    assert [sign.sign for sign in sheet.signs].count("+") == adds + 1  # and the legend's


@pytest.mark.parametrize("name", ["mixnet-s", "mixnet-pocket"])
def test_the_svg_is_one_document_without_anything_from_outside(name):
    text = svg(graph_of(name), FAMILIES[name].size)
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg" and root[0].tag == f"{SVG}title"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert not {"script", "image", "use", "a", "foreignObject"} & tags
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in text and "currentColor" in text
    assert float(root.attrib["width"]) <= 1280
    drawn = {element.get("fill") for element in root.iter(f"{SVG}rect")}
    assert set(KERNEL_COLOURS.values()) <= drawn
    defined = {element.get("id") for element in root.iter() if element.get("id")}
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= defined


def test_the_svg_shows_every_shape_and_every_node_s_cost():
    graph = graph_of("mixnet-s")
    text = svg(graph, 224)
    for spec in graph.infer(1, 224, 224).values():
        shape = spec.shape[1:]
        assert f">{shape[-1]:,}<" in text
        assert len(shape) == 1 or f">{shape[0]} × {shape[1]}" in text
    tips = [tip.text for tip in ElementTree.fromstring(text).iter(f"{SVG}title")]
    for node in collapse(graph):
        if node.root.kind != "input":
            assert any(f"{node.members[-1].name}: " in tip for tip in tips)


def test_a_name_from_a_file_cannot_break_the_documents():
    arch = dataclasses.replace(architecture("mixnet-pocket"), name='<a> & "b"\\\x00\ud800')
    graph = build(arch, DIALECTS["timm"])
    title = ElementTree.fromstring(svg(graph, 96).encode("utf-8"))[0].text
    assert title == '<a> & "b"\\\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}, 96 × 96 px'
    assert parsed(dot(graph, 96))[0][:2] == ["digraph", '"<a> & \\"b\\"\\\\��"']


# Words of DOT: quoted strings, HTML-like labels (one level is all that is used), and the rest.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|<<TABLE.*?</TABLE>>|->|[{}\[\];=,]|[\w.]+', re.DOTALL)


def parsed(text):
    """Tokens, nodes and edges of a DOT document; nothing between its tokens but white space."""
    assert TOKEN.sub("", text).strip() == ""
    tokens = TOKEN.findall(text)
    assert tokens.count("{") == tokens.count("}") and tokens.count("[") == tokens.count("]")
    edges = re.findall(r'^  "([^"]+)" -> "([^"]+)" \[label="([^"]+)"', text, re.MULTILINE)
    nodes = re.findall(r'^    "([^"]+)" \[', text, re.MULTILINE)
    return tokens, nodes, edges


@pytest.mark.parametrize("name", FAMILIES)
def test_the_dot_has_every_node_and_every_edge_with_its_shape(name):
    graph, size = graph_of(name), FAMILIES[name].size
    _, nodes, edges = parsed(dot(graph, size))
    collapsed = collapse(graph)
    specs = graph.infer(1, size, size)
    assert nodes == [node.name for node in collapsed]
    ends = {node.name: node.last.name for node in collapsed}
    assert edges == [
        (source, node.name, " × ".join(f"{n:,}" for n in specs[ends[source]].shape[1:]))
        for node in collapsed
        for source in node.inputs
    ]


def test_the_lanes_of_the_dot_have_their_colours():
    text = dot(graph_of("mixnet-s"), 224)
    assert all(f'BGCOLOR="{colour}"' in text for colour in KERNEL_COLOURS.values())


def test_graphviz_draws_the_dot():
    program = shutil.which("dot")
    if program is None:
        pytest.skip("graphviz is not installed")
    text = dot(graph_of("mixnet-pocket"), 96)
    done = subprocess.run(
        [program, "-Tcanon"], input=text.encode(), capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(("option", "draws"), [("--svg", svg), ("--dot", dot)])
def test_summary_writes_a_drawing_to_a_file_or_to_standard_output(capsys, tmp_path, option, draws):
    expected = draws(graph_of("mixnet-s"), 224)
    assert run(capsys, "summary", "--model", "mixnet-s", option, "-") == (0, expected, "")
    path = tmp_path / "graph"
    assert run(capsys, "summary", "--model", "mixnet-s", option, path) == (0, "", "")
    assert path.read_text("utf-8") == expected


def test_summary_replaces_a_drawing_only_by_force(capsys, tmp_path):
    path = tmp_path / "graph.svg"
    path.write_text("mine")
    code, _, err = run(capsys, "summary", "--svg", path)
    assert code == 2 and "exists already" in err and path.read_text() == "mine"
    assert run(capsys, "summary", "--svg", path, "--force").code == 0
    assert path.read_text("utf-8") == svg(graph_of("mixnet-pocket"), 96)


def test_the_drawing_has_the_size_that_was_asked_for(capsys):
    out = run(capsys, "summary", "--svg", "-", "--size", "320").out
    assert "mixnet-pocket, 320 × 320 px" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--dot", "-"), "both name -"),
        (("--plan",), "--plan is text"),
        (("--blocks",), "leave out --blocks"),
        (("--format", "json"), "leave out --blocks"),
        (("--batch", "2"), "leave out --blocks"),
        (("--size", "31"), "at least 32 px"),
    ],
)
def test_what_does_not_go_with_a_drawing_is_a_usage_error(capsys, more, message):
    code, out, err = run(capsys, "summary", "--svg", "-", *more)
    assert (code, out) == (2, "") and message in err


def test_drawing_and_stepping_load_nothing_of_the_explorer():
    code = (
        "import sys, minimix.drawing, minimix.stepping\n"
        "print([name for name in sys.modules if name.startswith('minimix.explorer')])"
    )
    command, root = [sys.executable, "-c", code], Path(__file__).resolve().parents[1]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
