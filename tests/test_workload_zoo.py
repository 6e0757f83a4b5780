"""Every shipped workload: its file loads, and the parameters it states are those that its ops store."""

import pytest

import perfmodel as pm
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
