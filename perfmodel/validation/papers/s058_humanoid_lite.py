"""S058: Chi et al., Demonstrating Berkeley Humanoid Lite, 2025; sizes from its policy file."""

from __future__ import annotations

from perfmodel.validation.cases import predicts
from perfmodel.workload.nets.small import Mlp
from perfmodel.workload.workload import Workload


@predicts("S058-POLICY-01", fidelity="count")
def policy_products() -> float:
    """Multiply-accumulates of one step of the policy."""
    policy = Workload("policy", "mlp", Mlp(widths=(75.0, 256.0, 128.0, 128.0, 22.0)))
    return float(policy.flops()) / 2.0
