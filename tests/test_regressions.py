"""Faults that were once there, one test each."""

import pickle

import numpy as np
import pytest

import perfmodel as pm

MODEL = "llama-3.1-8b"


def same(sweep, single, at):
    """Every metric of a point of the sweep equals that of the single answer."""
    for name in single.metrics:
        got, want = np.asarray(getattr(sweep, name))[at], getattr(single, name)
        if isinstance(want, str):
            assert got == want, name
        else:
            assert got == pytest.approx(want, rel=1e-12, nan_ok=True), name


@pytest.mark.parametrize("fidelity", ["dataflow", "calibrated"])
def test_one_and_many_new_tokens_on_one_axis(fidelity):
    """Points with one new token took the kernel of a prompt as soon as the axis held a longer one."""
    def ask(query):
        op = pm.op.attention(batch=2, query=query, context=4096, heads=32, kv_heads=8)
        return pm.kernel(op, "h100-sxm5", fidelity=fidelity)

    sweep = ask([1, 64])
    for at, query in enumerate((1, 64)):
        same(sweep, ask(query), at)
        same(sweep.low, ask(query).low, at)
        same(sweep.high, ask(query).high, at)


@pytest.mark.parametrize("fidelity", ["roofline", "dataflow", "calibrated"])
def test_pipeline_of_one_stage_on_an_axis(fidelity):
    """The transfer between stages occurs zero times with one stage; it divided by that count."""
    def ask(pp):
        return pm.inference(MODEL, "h100-sxm5:8", batch=8, output=8, pp=pp, fidelity=fidelity)

    sweep = ask([1, 2])
    for at, pp in enumerate((1, 2)):
        same(sweep, ask(pp), at)


@pytest.mark.parametrize(
    "result",
    [
        pm.inference(MODEL, "h100-sxm5:8", batch=[1, 8], tp=8),
        pm.inference(MODEL, "h100-sxm5", fidelity="calibrated"),
        pm.forward("resnet-50", "t4", precision="fp16"),
        pm.kernel(pm.op.matmul(m=[1, 64], n=64, k=64), "h100-sxm5"),
        pm.training(MODEL, "h100-sxm5:8", batch=8, sequence=128, tp=8),
    ],
    ids=["inference", "calibrated", "forward", "kernel", "training"],
)
def test_a_result_comes_back_from_another_process(result):
    """Executors send results by pickle; metrics, interval and breakdown are still there."""
    back = pickle.loads(pickle.dumps(result))
    assert repr(back) == repr(result)
    assert set(back.metrics) == set(result.metrics)
    assert all(np.shape(getattr(back, name)) == np.shape(getattr(result, name)) for name in result.metrics)
    assert str(back.breakdown()) == str(result.breakdown())
    assert repr(back.high) == repr(result.high)


def test_named_arrays_keep_their_axes_through_pickle():
    array = pm.inference(MODEL, "h100-sxm5", batch=[1, 8]).tpot
    back = pickle.loads(pickle.dumps(array))
    assert back.axes == ("batch",) and list(back.coords["batch"]) == [1, 8]
