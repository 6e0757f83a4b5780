"""Common dimensions of networks that work on one image."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.algebra import Value
from perfmodel.spec import quantity, text
from perfmodel.workload.graph import Graph
from perfmodel.workload.nets.builder import FUSIONS, Feature, Net
from perfmodel.workload.step import Step


@dataclass(frozen=True, kw_only=True)
class Image:
    """Input of an image network; of a Step only the batch counts."""

    channels: Value = quantity("count", default=3.0, doc="input channels")
    height: Value = quantity("count", default=224.0, doc="input rows")
    width: Value | None = quantity("count", default=None, doc="input columns; absent: as many as rows")
    fusion: str = text(default="activation", choices=FUSIONS, doc="what runs as one kernel")

    def graph(self, step: Step, name: str = "net") -> Graph:
        """Ops of one pass over a batch of images."""
        net = Net(name, step.batch, self.fusion)
        width = self.height if self.width is None else self.width
        self.build(net, Feature(self.channels, self.height, width))
        return net.graph()

    def build(self, net: Net, x: Feature) -> None:
        """Append the layers of the network."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Classifier(Image):
    """Image network that ends in a class score."""

    classes: Value = quantity("count", default=1000.0, doc="classes of the head; ImageNet has 1000")


def divisible(channels: float, by: int = 8) -> float:
    """Channels rounded to a multiple, never more than 10 % down [1].

    [1] Howard et al., Searching for MobileNetV3, arXiv:1905.02244 (rule of the published code).
    """
    rounded = max(by, int(channels + by / 2) // by * by)
    return float(rounded + by if rounded < 0.9 * channels else rounded)


def some(times: Value) -> bool:
    """False only for a plain number below one: a part that is not there."""
    return not (isinstance(times, (int, float)) and times < 1)
