"""Scenario rules that single papers ask for: each counted by hand on a tiny example."""

from __future__ import annotations

import pytest

import perfmodel as pm
from perfmodel.scenario import requirements


def test_requirement_of_a_use_case():
    case = requirements.UseCase(prompt=100.0, answer=10.0, beams=2.0, ttft=0.5, tpot=0.1)
    assert requirements.cached_tokens(case) == 100 + 2 * 10
    assert requirements.cached_tokens(case, shared=False) == 2 * (100 + 10)
    net = pm.workload("llama-2-7b")
    found = requirements.required(net, case, "int8")
    # two key-value vectors of 4096 bytes in 32 layers
    cache = 2 * 4096 * 32 * 120
    weights = float(net.parameters)
    table = 32000 * 4096  # not read
    assert found.capacity == pytest.approx(weights + cache, rel=1e-4)
    assert found.bandwidth == pytest.approx((weights - table + cache) / 0.1, rel=1e-4)
    step = net.flops(batch=2, query=1, context=110, logits="last")
    assert found.decode == pytest.approx(step / 0.1)
    assert found.prefill == pytest.approx(net.flops(query=100, logits="last") / 0.5)
