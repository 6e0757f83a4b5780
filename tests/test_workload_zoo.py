"""Every shipped workload: its file loads, and the parameters it states are those that its ops store."""

import pytest

import perfmodel as pm
from perfmodel.workload.transforms import tensor_parallel
from perfmodel.workload.workload import workloads


@pytest.mark.parametrize("name", workloads())
def test_shipped_workload(name):
    model = pm.workload(name)
    assert model.name == name
    assert model.source
    if model.published_parameters is not None:
        assert model.parameters == model.published_parameters


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [("llama-3.1-405b", 516096), ("qwen2.5-72b", 327680)],  # arXiv:2505.09343, Table 1 (bf16, kB = 1000 B)
)
def test_cache_growth(name, bytes_per_token):
    assert pm.workload(name).kv_bytes_per_token("bf16") == bytes_per_token


@pytest.mark.parametrize(
    "name", [n for n in workloads() if pm.workload(n).family in ("decoder", "encoder_decoder")]
)
@pytest.mark.parametrize("members", [2.0, 8.0])
def test_tensor_parallel_shares_add_up(name, members):
    """Members together do all of the work and hold all weights, and not much more than that."""
    whole = pm.workload(name).graph(batch=4, query=8, context=64)
    share = tensor_parallel(members)(whole)
    assert whole.flops * 0.999 <= members * share.flops <= 1.6 * whole.flops
    assert whole.elements("weight") * 0.999 <= members * share.elements("weight")
    assert share.elements("weight") <= whole.elements("weight")
