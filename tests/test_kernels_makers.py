"""Programs of one name that differ by the maker of the chip, and tables that count differently."""

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine.kernels.facts import facts_column, gpu_facts
from perfmodel.engine.kernels.splits import query_copies, split_rule
from perfmodel.explore.kernel_known import FAMILIES

INTEL = gpu_facts(pm.device("b60"))


def test_the_rules_of_flash_attention_2_are_those_of_its_maker_alone():
    """The kernel that vLLM calls flash_attn on Intel splits the cache of one long sequence; that of CUDA does not."""
    assert split_rule("vllm_flash_attn", "bfloat16", "mha", gpu_facts(pm.device("a100-sxm-80gb"))) == "none"
    assert split_rule("vllm_flash_attn", "bfloat16", "mha", INTEL) == "best"
    assert query_copies("vllm_flash_attn", "bfloat16", "gqa", 32.0, 8.0, 0.0, INTEL) == 0.0
    assert facts_column(INTEL).vendor == "Intel"


def test_an_all_gather_of_oneccl_counts_the_share_of_a_rank():
    """1 MB of each of 4 ranks is the same as 4 MB in all of NCCL."""
    family = next(one for one in FAMILIES if one.name == "collectives")

    def time(size, group):
        rows = {"num_gpus": np.array([4.0]), "message_bytes": np.array([size]), "op": np.array(["all_gather"])}
        return family.predict(rows, INTEL, family.corrections(), group).seconds, family.bound(rows, INTEL, group)

    share, whole = time(1e6, "oneccl/all_gather/any"), time(4e6, "nccl/all_gather/any")
    assert np.ravel(share) == pytest.approx(np.ravel(whole))
    assert whole[1] == pytest.approx(3e6 / INTEL.link)  # all but the own quarter
