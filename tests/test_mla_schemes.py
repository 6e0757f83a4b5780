"""Crossovers between the ways to compute latent attention, against the counts of the operators."""

import pytest

from perfmodel.ops.mla import mla
from perfmodel.ops.mla_schemes import crossover_context


@pytest.mark.parametrize("query", [1.0, 16.0, 128.0])
def test_crossover_context_is_where_the_operations_meet(query):
    heads, sizes = 128.0, {"kv_rank": 512.0, "rope_dim": 64.0, "nope_dim": 128.0, "v_dim": 128.0}
    context = float(crossover_context(query, **sizes))

    def macs(context: float, absorbed: bool) -> float:
        op = mla(1.0, query, context, heads, absorbed=absorbed, causal=False, **sizes)
        into_latents = heads * query * 512 * (128 + 128) if absorbed else 0.0  # queries in, outputs back
        return op.flops / 2 + into_latents

    assert macs(context, True) == pytest.approx(macs(context, False))
    assert macs(2 * context, True) < macs(2 * context, False)


def test_a_long_prefill_never_absorbs():
    assert crossover_context(1e4, 512.0, 64.0, 128.0, 128.0) < 0
