"""Control loops around a policy: late actions, the rate of chunked actions, planning by search.

References
[1] Chi et al., Universal Manipulation Interface, arXiv:2402.10329 (latency chain, dropped leading actions).
[2] NVIDIA, GR00T N1, arXiv:2503.14734 (chunk of 16 actions from one backbone pass and 4 denoising steps).
[3] Du et al., Video Language Planning, arXiv:2310.10625 (tree of policy, video and value calls).
"""

from __future__ import annotations

from perfmodel.algebra import Value, ceil, maximum


def chunk_latency(backbone: Value, step: Value, steps: Value) -> Value:
    """Time of a chunk of actions [s] [2]: one backbone pass and the denoising steps of the action head."""
    return backbone + steps * step


def dropped_actions(observation: Value, inference: Value, actuation: Value, period: Value) -> Value:
    """Leading actions of a chunk whose time has passed when they reach the robot [1]: ``ceil(sum/period)``.

    observation, inference, actuation  latencies of the chain [s]; period of the actions [s]
    """
    return ceil((observation + inference + actuation) / period)


def control_rate(actions: Value, dropped: Value, inference: Value) -> Value:
    """Usable actions per second while the next chunk is computed [1/s]: ``max(actions - dropped, 0)/t``."""
    return maximum(actions - dropped, 0.0) / inference


def plan_time(
    beams: Value, branches: Value, horizon: Value, policy: Value, video: Value, value: Value
) -> Value:
    """Time of a plan by tree search [s] [3]: ``beams branches horizon (policy + video + value)``."""
    return beams * branches * horizon * (policy + video + value)
