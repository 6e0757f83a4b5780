"""Networks as a list of layers in a file: shapes, repetition, expressions, and what is refused and where."""

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import ArgumentError, GraphError, SpecError, UnknownNameError
from perfmodel.workload.expression import check, evaluate, round8
from perfmodel.workload.nets.image import divisible

RESNET50 = """
workload: rebuilt
source: test
network:
  input: {channels: 3, height: 224, width: 224}
  let: {w: 64}
  layers:
    - {name: stem, conv: {out: w, kernel: 7, stride: 2}}
    - pool: {kernel: 3, stride: 2, padding: 1}
    - {residual: {out: 4*w}, repeat: 3}
    - {residual: {out: 8*w, stride: 2}, repeat: 4}
    - {residual: {out: 16*w, stride: 2}, repeat: 6}
    - {residual: {out: 32*w, stride: 2}, repeat: 3}
    - global_pool: {}
    - linear: {out: 1000}
"""
BRANCHES = """
workload: branches
source: test
network:
  input: {channels: 8, height: 10, width: 10}
  layers:
    - {name: a, conv: {out: 8, kernel: 3}}
    - {name: b, inputs: [input], conv: {out: 8}}
    - {name: c, inputs: [a, b], add: {act: relu}}
    - {name: d, inputs: [a, b, c], concat: {}}
    - {name: e, use: pair, sizes: {wide: 2*channels}}
    - {name: f, resize: {factor: 2}}
  blocks:
    pair:
      - conv: {out: wide, kernel: 3}
      - {name: back, conv: {out: wide/2}}
"""


def load(tmp_path, text):
    path = tmp_path / "net.yaml"
    path.write_text(text.lstrip("\n"), encoding="utf-8")
    return pm.workload(path)


def test_rebuilds_a_family(tmp_path):
    model, family = load(tmp_path, RESNET50), pm.workload("resnet-50")
    assert model.parameters == family.parameters == 25557032
    assert model.flops() == family.flops()
    assert len(model.graph(batch=1).ops) == len(family.graph(batch=1).ops)


def test_variables_may_be_arrays(tmp_path):
    model = load(tmp_path, RESNET50).vary({"let.w": [32, 64]})
    assert model.parameters[1] == 25557032
    (axis,) = pm.forward(model, "h100-sxm5").latency.axes
    assert axis.endswith("let.w")


def test_branches_by_name(tmp_path):
    graph = load(tmp_path, BRANCHES).graph(batch=1)
    a, b = 8 * 8 * 9, 8 * 8
    pair = 24 * 48 * 9 + 48 * 24
    assert graph.flops == 2 * 100 * (a + b + pair)
    edges = graph.edges()
    assert {("a", "c"), ("b", "c"), ("a", "e.conv1"), ("c", "e.conv1"), ("e.conv1", "e.back")} <= set(edges)
    assert ("a", "b") not in edges  # b reads the input
    assert graph.ops[-1].elements(output=True) == 24 * 20 * 20


def placed(text, part):
    """Line of the first text that holds `part`, counted from 1."""
    return next(i for i, line in enumerate(text.lstrip("\n").splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("inputs: [a, b], add", "inputs: [a, bb], add", "'c' reads 'bb', which does not exist; did you mean 'b'"),
        ("inputs: [input]", "inputs: [e]", "'b' reads 'e', which comes later, so the two would depend on each other"),
        ("inputs: [a, b], add", "inputs: [c], add", "'c' reads 'c', which comes later"),
        ("use: pair", "use: pairs", "block 'pairs' does not exist; did you mean 'pair'"),
        ("name: b,", "name: a,", "the name 'a' is given twice"),
        ("name: b, inputs: [input], conv: {out: 8}", "name: b, inputs: [input], conv: {out: 9}",
         "combines the shapes 8 x 10 x 10 and 9 x 10 x 10"),
        ("sizes: {wide: 2*channels}", "sizes: {wid: 2}", "unknown name in an expression 'wide'; did you mean 'wid'"),
        ("resize: {factor: 2}", "repeat: 3, resize: {factor: 2}", "does not give back the shape it takes"),
        ("conv: {out: wide/2}", "use: pair, sizes: {wide: 8}", "block 'pair' uses itself in a cycle"),
        ("conv: {out: 8, kernel: 3}", "conv: {out: 8/0, kernel: 3}", "a finite value"),
    ],
)
def test_faulty_graph_names_file_and_line(tmp_path, old, new, words):
    text = BRANCHES.replace(old, new)
    assert text != BRANCHES
    with pytest.raises(GraphError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert words in message
    # where two layers are at odds, the later one is named
    at_odds = {"name: b,": "inputs: [input], conv", "name: b, inputs: [input], conv: {out: 8}": "add: {act",
               "sizes: {wide: 2*channels}": "conv: {out: wide, kernel"}
    assert f"net.yaml:{placed(text, at_odds.get(old, new))}:" in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("conv: {out: w, kernel: 7", "conv: {out: w, kernal: 7", "did you mean 'kernel'"),
        ("pool: {kernel: 3", "pol: {kernel: 3", "did you mean 'pool'"),
        ("out: 4*w", 'out: "__import__(1)"', "the functions min, max"),
        ("out: 4*w", 'out: "w.real"', "arithmetic"),
        ("global_pool: {}", "{global_pool: {}, linear: {out: 3}}", "exactly one of"),
        ("channels: 3", "channels: 3.5", "whole number"),
        ("stride: 2}}", "stride: 2, act: relo}}", "did you mean 'relu'"),
    ],
)
def test_faulty_file_names_the_place(tmp_path, old, new, words):
    text = RESNET50.replace(old, new, 1)
    with pytest.raises(SpecError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert f"net.yaml:{placed(text, new)}:" in str(caught.value)


def test_two_families_are_refused(tmp_path):
    with pytest.raises(SpecError, match="exactly one of"):
        load(tmp_path, "workload: x\nsource: y\nvgg: {depth: 16}\nresnet: {depth: 50}\n")


# --- expressions -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(
    ("text", "value"),
    [("2*channels + 1", 17), ("-channels", -8), ("channels // 3", 2), ("7 % 4", 3), ("2**3", 8),
     ("min(channels, 3)", 3), ("ceil(channels / 3)", 3), ("round8(0.75 * 24)", 24), ("max(1, 2, 3)", 3)],
)
def test_value(text, value):
    assert evaluate(text, {"channels": 8.0}) == value


@pytest.mark.parametrize(
    "text",
    ["", "1 +", "a.b", "f(1)", "[1]", "'x'", "lambda: 1", "a if b else c", "min(a=1)", "min()", "1 < 2", "x := 1",
     "a and b", "__import__('os')", "1" * 300, "a @ b", "True", "1j"],
)
def test_not_arithmetic(text):
    with pytest.raises(ArgumentError):
        check(text)


@pytest.mark.parametrize("text", ["1/0", "9**9**9**9", "10**400"])
def test_no_finite_value(text):
    with pytest.raises(ArgumentError, match="finite"):
        evaluate(text, {})


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="did you mean 'width'"):
        evaluate("2*widht", {"width": 1.0})


def test_array_and_symbol():
    assert evaluate("2*w", {"w": np.array([1.0, 2.0])}).tolist() == [2, 4]
    w = sympy.Symbol("w")
    assert float(sympy.diff(evaluate("w**2 + 1", {"w": w}), w).subs(w, 3)) == 6


@given(st.floats(1, 4000))
def test_two_forms_of_the_rounding_rule(channels):
    assert float(round8(channels)) == divisible(channels)
    assert float(round8(channels)) >= 0.9 * channels or channels < 8
    assert float(round8(channels)) % 8 == 0


# --- documentation ---------------------------------------------------------------------------------------

def yaml_blocks(root):
    text = (root / "docs" / "networks.md").read_text(encoding="utf-8")
    return [part.split("```")[0] for part in text.split("```yaml\n")[1:]]


def test_files_of_the_documentation_load(root, tmp_path):
    blocks = yaml_blocks(root)
    assert len(blocks) == 3
    for block in blocks:
        head = "" if block.startswith("workload:") else "workload: shown\nsource: documentation\n"
        model = load(tmp_path, head + block)
        assert model.flops() > 0
        model.graph(batch=2).edges()
        if model.published_parameters:
            assert model.parameters == model.published_parameters
