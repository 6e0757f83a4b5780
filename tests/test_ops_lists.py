"""Lists as sizes of operators: an axis for the user, plain arrays while a graph is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import ArgumentError
from perfmodel.ops.deferred import Deferred
from perfmodel.workload.graph import Graph
from perfmodel.workload.step import Step


def test_a_list_becomes_an_axis() -> None:
    result = pm.kernel(pm.op.matmul(m=[1, 64, 4096], n=4096, k=4096), "h100-sxm5")
    assert result.latency.axes == ("m",)
    for i, m in enumerate((1, 64, 4096)):
        assert result.latency[i] == pytest.approx(pm.kernel(pm.op.matmul(m=m, n=4096, k=4096), "h100-sxm5").latency)


def test_several_lists_span_a_mesh_with_the_hardware() -> None:
    node = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [2e12, 4e12]})
    op = pm.op.attention(batch=[1, 8], query=1, context=np.array([1024, 2048, 4096]), heads=32, kv_heads=8)
    result = pm.kernel(op, node)
    assert isinstance(op, Deferred) and "context=" in repr(op)
    assert set(result.axes) == {"batch", "context", "device.memory.hbm.bandwidth"} and result.latency.size == 12
    one = pm.kernel(pm.op.attention(batch=8, query=1, context=2048, heads=32, kv_heads=8), "h100-sxm5")
    same = pm.kernel(op, "h100-sxm5")
    assert same.latency[1, 1] == pytest.approx(one.latency)


def test_ops_of_the_same_axis_vary_together() -> None:
    pair = [pm.op.matmul(m=[1, 2], n=8, k=8), pm.op.softmax(rows=[1, 2], width=8)]
    assert pm.kernel(pair, "h100-sxm5").shape == (2, 2)
    rows = pm.Axis("rows", [1, 2])
    assert pm.kernel([pm.op.matmul(m=rows, n=8, k=8), pm.op.softmax(rows=rows, width=8)], "h100-sxm5").shape == (2,)


@dataclass(frozen=True)
class OneLayer:
    """A model of one's own, made of checked operators."""

    width: float

    def graph(self, step: Step, name: str) -> Graph:
        first = pm.op.matmul(step.tokens, 4 * self.width, self.width).named("up", 3)
        return Graph(name, (first, pm.op.matmul(step.tokens, self.width, 4 * self.width, name="down")))


@pytest.mark.parametrize("batch", [[1, 8, 64], [7]])
def test_a_model_of_checked_operators_takes_arrays(batch: list[int]) -> None:
    model = pm.Workload("own", "own", OneLayer(1024))
    many = pm.forward(model, "h100-sxm5", batch=batch)
    node = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": [2e12, 3.35e12]})
    mesh = pm.forward(model, node, batch=batch)
    for i, value in enumerate(batch):
        one: Any = pm.forward(model, "h100-sxm5", batch=value)
        assert many.latency[i] == pytest.approx(one.latency, rel=1e-14)
        assert mesh.latency[i, 1] == pytest.approx(one.latency, rel=1e-14)


def test_values_are_checked_while_a_graph_is_built() -> None:
    model = pm.Workload("own", "own", OneLayer(1024.5))
    with pytest.raises(ArgumentError, match="whole number"):
        pm.forward(model, "h100-sxm5", batch=[1, 2])
