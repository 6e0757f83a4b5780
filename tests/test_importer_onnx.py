"""ONNX import: FLOPs and parameters of real exported networks, fusion, symbolic sizes, refusals."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError, GraphError, MissingPackageError
from perfmodel.workload.importers.onnx import from_onnx

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")

FACTS = Path(__file__).parent / "facts"
with (FACTS / "onnx.csv").open(encoding="utf-8") as lines:
    ROWS = {row["file"]: row for row in csv.DictReader(lines)}

#: what the initialisers of a file hold beyond, or lack of, the stored weights
DIFFERENCE = {
    "conv-lstm.onnx": 2048,  # initial state, two Constant nodes of 4 x 16 x 16
    "mobilenet_v2-narrow.onnx": -2,  # bounds of a clip
    "encoder-block-export.onnx": -4,  # scale and constants of the error function
    "decoder-block.onnx": -1,  # scale of the scores
}


@pytest.mark.parametrize("fusion", ["none", "activation", "residual"])
@pytest.mark.parametrize("name", ROWS)
def test_exported_network(name, fusion):
    row = ROWS[name]
    model = from_onnx(FACTS / "onnx" / name, fusion=fusion)
    graph = model.graph(batch=model.dims.batch)
    graph.edges()
    assert graph.flops == int(row["flops"])
    assert graph.elements("weight") == int(row["initializer_floats"]) + DIFFERENCE.get(name, 0)


@pytest.mark.parametrize("name", ["resnet18-shapes.onnx", "mobilenet_v2-shapes.onnx"])
def test_same_as_the_family(name):
    """The exported network and the built one: the exporter folds one of the two parameters of a batch norm."""
    imported = pm.workload(FACTS / "onnx" / name)
    built = pm.workload({"resnet18": "resnet-18", "mobilenet_v2": "mobilenet-v2"}[name.split("-")[0]])
    assert imported.flops() == built.flops()
    assert imported.graph(batch=1).operations("matrix") == built.graph(batch=1).operations("matrix")
    launches = [sum(op.launches * op.count for op in m.graph(batch=1)) for m in (imported, built)]
    assert launches[0] == launches[1]


def test_fusion_saves_kernels_and_keeps_work():
    path = FACTS / "onnx" / "encoder-block.onnx"
    loose, fused, residual = (from_onnx(path, fusion=f).graph(batch=2) for f in ("none", "activation", "residual"))
    assert len(loose.ops) > len(fused.ops) > len(residual.ops)
    assert [op.family for op in fused].count("attention") == 1
    assert fused.operations("special") <= loose.operations("special")


def test_batch_scales_as_an_array():
    model = from_onnx(FACTS / "onnx" / "resnet18-narrow.onnx")
    batch = np.array([1.0, 2.0, 8.0])
    assert model.flops(batch=batch) == pytest.approx(model.flops() * batch)
    assert model.graph(batch=8).elements("weight") == model.parameters


def small(shape, nodes=None, weights=(), output=None):
    """An ONNX model of a few nodes."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, output)
    tensors = [helper.make_tensor(n, onnx.TensorProto.FLOAT, s, np.zeros(int(np.prod(s)))) for n, s in weights]
    graph = helper.make_graph(nodes, "small", [x], [y], initializer=tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def save(tmp_path, model):
    path = tmp_path / "small.onnx"
    onnx.save(model, str(path))
    return path


def test_convolution_with_symbolic_batch(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    path = save(tmp_path, small(["n", 3, 8, 8], nodes, [("w", [4, 3, 3, 3]), ("b", [4])]))
    model = pm.workload(path)
    (op,) = model.graph(batch=1).ops
    assert op.flops == 2 * 4 * 4 * 4 * 3 * 3 * 3  # 2 x 4 x 4 positions x 4 channels x 3 x 3 x 3 window
    assert op.operations("vector") == 4 * 4 * 4
    assert model.parameters == 4 * 3 * 3 * 3 + 4


def test_symbolic_size_is_wanted(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, small(["n", "length", 8], nodes, [("w", [8, 16])]))
    with pytest.raises(ArgumentError, match="length"):
        from_onnx(path)
    assert from_onnx(path, sizes={"length": 5}).flops() == 2 * 5 * 8 * 16
    with pytest.raises(ArgumentError, match="symbolic dimensions: length, n"):
        from_onnx(path, sizes={"length": 5, "width": 3})


def test_unknown_operator_is_named(tmp_path):
    nodes = [helper.make_node("Det", ["x"], ["y"], name="odd")]
    path = save(tmp_path, small([1, 2, 2], nodes))
    with pytest.raises(ArgumentError, match=r"Det \(node odd\)"):
        from_onnx(path)


def test_wrong_shapes_are_refused(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, small([1, 7], nodes, [("w", [8, 16])]))
    with pytest.raises(GraphError, match="MatMul"):
        from_onnx(path)


def test_file_that_is_not_onnx(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_text("no protobuf here")
    with pytest.raises(ArgumentError, match="readable ONNX file"):
        pm.workload(path)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPackageError, match=r"perfmodel\[onnx\]"):
        from_onnx(FACTS / "onnx" / "lstm.onnx")
