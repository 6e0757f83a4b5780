"""Dense feed-forward part."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.ops.core import Op
from perfmodel.ops.elementwise import elementwise, norm
from perfmodel.ops.matmul import matmul
from perfmodel.spec import flag, quantity, text
from perfmodel.workload.step import Step

#: Activation functions without a special-function operation.
PLAIN_ACTIVATIONS = ("relu", "relu2")


@dataclass(frozen=True, kw_only=True)
class Mlp:
    """Feed-forward part: gated (SwiGLU, GeGLU) or plain."""

    width: Value = quantity("count", doc="inner width")
    gated: bool = flag(default=True, doc="gate and up projection; False: up projection only")
    bias: bool = flag(default=False, doc="bias on all projections")
    activation: str = text(default="silu", doc="activation function")
    inner_norm: bool = flag(default=False, doc="norm before the down projection")
    learned: Value | None = quantity("count", default=None, doc="learned numbers in the activation function")

    def ops(self, hidden: Value, step: Step) -> list[Op]:
        """Up (and gate), activation, down."""
        up = 2.0 * self.width if self.gated else 1.0 * self.width
        act = activation(step.tokens * self.width, self.gated, self.activation, learned=self.learned)
        ops = [
            matmul(step.tokens, up, hidden, bias=self.bias, name="up").divided(tp="n"),
            act.divided(tp="i"),
        ]
        if self.inner_norm:
            ops.append(norm(step.tokens, self.width, name="inner_norm").divided(tp="d"))
        return [*ops, matmul(step.tokens, hidden, self.width, bias=self.bias, name="down").divided(tp="k")]


def activation(
    elements: Value, gated: bool, kind: str = "silu", name: str = "activation", learned: Value | None = None
) -> Op:
    """Activation function of `elements` outputs, times the gate where there is one."""
    special = 0 if kind in PLAIN_ACTIVATIONS else 1
    return elementwise(
        elements,
        inputs=2 if gated else 1,
        operations=3 if gated else 2,
        special=special,
        parameters=0 if learned is None else learned,
        name=name,
    )
