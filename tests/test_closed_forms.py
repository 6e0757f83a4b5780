"""Closed forms are the formulas that answer: with numbers put in they give the same numbers."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.closed_forms import explain
from perfmodel.errors import ArgumentError
from perfmodel.ops.core import Op
from perfmodel.ops.matmul import matmul


def test_matmul_by_hand() -> None:
    import sympy

    m, n, k = sympy.symbols("m n k", positive=True)
    form = pm.explain("matmul", "h100-sxm5")
    assert form.flops == 2 * m * n * k
    assert sympy.expand(form.bytes - 2 * (m * k + n * k + m * n)) == 0
    assert sympy.simplify(form.intensity - m * n * k / (m * k + n * k + m * n)) == 0
    assert str(form.symbols["P_bf16"]) == "P_bf16" and form.values["W_hbm"] == 3.35e12


def test_crossover_batch() -> None:
    """2 m n k / P = 2 (m k + n k + m n) / W, solved for m by hand."""
    form = pm.explain("matmul", "h100-sxm5", n=4096, k=4096)
    ridge = 989e12 / 3.35e12
    n = k = 4096
    (found,) = form.crossover()
    assert found == pytest.approx(ridge * n * k / (n * k - ridge * (n + k)), rel=1e-12)
    node = pm.system("h100-sxm5").vary({"device.launch.overhead": 0.0})
    below, above = (pm.kernel(pm.op.matmul(m=round(found) + d, n=n, k=k), node).bound for d in (-1, 1))
    assert (below, above) == ("memory", "compute")


@pytest.mark.parametrize(("name", "fixed", "free"), [
    ("matmul", {}, {"m": 33, "n": 64, "k": 128}),
    ("attention", {"causal": True}, {"batch": 2, "query": 5, "context": 77, "heads": 8}),
    ("conv2d", {"padding": 0}, {"batch": 2, "in_channels": 16, "out_channels": 24, "height": 20, "width": 30, "kernel": 3}),
    ("softmax", {}, {"rows": 100, "width": 512}),
])
def test_closed_forms_equal_the_numeric_answer(name: str, fixed: dict[str, object], free: dict[str, float]) -> None:
    form = explain(name, "h100-sxm5", **fixed, **{k: v for k, v in free.items() if name == "conv2d" and k == "kernel"})
    answer = pm.kernel(getattr(pm.op, name)(**fixed, **free), "h100-sxm5")
    sizes = {key: value for key, value in free.items() if key in form.symbols}
    assert form.at("time", **sizes) == pytest.approx(answer.latency, rel=1e-12)
    assert form.at("flops", **sizes) == answer.flops
    assert form.at("bytes", **sizes) == pytest.approx(answer.bytes, rel=1e-15)


def test_a_whole_model() -> None:
    form = pm.explain("llama-3.1-8b", "h100-sxm5")
    answer = pm.forward("llama-3.1-8b", "h100-sxm5", batch=8, context=512)
    assert form.at("time", batch=8, context=512) == pytest.approx(answer.latency, rel=1e-12)
    assert form.at("flops", batch=8, context=512) == answer.flops
    # decode with a long context stays bound by memory at any batch: each sequence reads its own cache
    assert form.crossover("batch", context=4096) == []
    (short,) = form.crossover("batch", context=1)
    assert 300 < short < 400


def test_sensitivity_of_the_closed_form() -> None:
    form = pm.explain("matmul", "h100-sxm5", n=4096, k=4096)
    numeric = pm.kernel(pm.op.matmul(m=64, n=4096, k=4096), "h100-sxm5")
    slopes = {row["field"]: row["sensitivity"] for row in pm.sensitivity(numeric, "latency")}
    assert form.sensitivity("W_hbm", m=64) == pytest.approx(slopes["device.memory.hbm.bandwidth"], rel=1e-6)
    assert form.sensitivity("P_bf16", m=64) == 0.0


def test_other_hardware_by_symbol() -> None:
    form = pm.explain("matmul", "h100-sxm5", m=64, n=4096, k=4096)
    faster = pm.system("h100-sxm5").vary({"device.memory.hbm.bandwidth": 8e12})
    assert form.at(W_hbm=8e12) == pytest.approx(pm.kernel(pm.op.matmul(m=64, n=4096, k=4096), faster).latency)


def test_texts() -> None:
    form = pm.explain("matmul", "h100-sxm5", n=4096, k=4096)
    assert "P_bf16 = 989 TFLOP/s" in repr(form) and "FLOP" in repr(form)
    assert r"\frac" in form.latex("intensity") and form._repr_latex_().startswith("$")
    import sympy

    own = matmul(sympy.Symbol("tokens", positive=True), 8, 8)
    assert isinstance(own, Op) and "tokens" in explain(own, "h100-sxm5").symbols
    with pytest.raises(ArgumentError):
        pm.explain("matmul", "h100-sxm5").crossover()
