"""``perfmodel probe --check``: real forward passes in PyTorch beside the prediction from the probe.

ResNet-50, a BERT-base-size encoder, and GPT-2-size prefill and decode, all with random weights in fp32.  The
networks are written here in their plainest form; no weights are loaded.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perfmodel.engine.achieved import spread
from perfmodel.explore.probe_torch import prepare, timed, torch_module
from perfmodel.hardware.device import Device
from perfmodel.scenario.forward import forward
from perfmodel.workload.workload import workload

TOKENS, CONTEXT = 128, 256

#: of a table of checked passes
COLUMNS = ("date", "machine", "load", "software", "pass", "predicted_s", "low_s", "high_s", "measured_s")


@dataclass(frozen=True)
class Pass:
    """One forward pass: predicted and measured time [s], and the predicted 80 % interval."""

    name: str
    predicted: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / self.measured - 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        return {
            "pass": self.name,
            "predicted": self.predicted,
            "low": self.low,
            "high": self.high,
            "measured": self.measured,
            "error": self.error,
        }


#: name -> workload, arguments of the pass, changes of its dimensions
PASSES: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "ResNet-50, batch 1": ("resnet-50", {}, {"fusion": "none"}),
    f"BERT-base, {TOKENS} tokens": ("bert-base", {"query": TOKENS}, {}),
    f"GPT-2 prefill, {TOKENS} tokens": ("gpt2", {"query": TOKENS, "logits": "last"}, {}),
    f"GPT-2 decode, context {CONTEXT}": ("gpt2", {"query": 1, "context": CONTEXT}, {}),
}


def check(
    device: Device, budget: float = 30.0, progress: Callable[[float], None] | None = None
) -> Sequence[Pass]:
    """Predicted and measured time of each pass."""
    torch = torch_module()
    prepare(torch)
    runs = (_resnet(torch), _bert(torch), _prefill(torch), _decode(torch))
    found = []
    for done, ((name, _), run) in enumerate(zip(PASSES.items(), runs, strict=True), start=1):
        middle, low, high = predict(device, name)
        found.append(Pass(name, middle, low, high, timed(torch, run, budget / len(PASSES), least=5)))
        if progress is not None:
            progress(done / len(PASSES))
    return found


def add_rows(file: Path, device: Device, passes: Sequence[Pass], load: float) -> str:
    """Text of a table of checked passes with these added; times in seconds, load as they began."""
    software = f"torch {torch_module().__version__}"
    facts = (time.strftime("%Y-%m-%d"), device.title, f"{load:.1f}", software)
    text = io.StringIO()
    text.write(file.read_text(encoding="utf-8") if file.is_file() else ",".join(COLUMNS) + "\n")
    csv.writer(text, lineterminator="\n").writerows(
        (*facts, one.name, *(f"{t:.4g}" for t in (one.predicted, one.low, one.high, one.measured)))
        for one in passes
    )
    return text.getvalue()


def predict(device: Device, name: str) -> tuple[float, float, float]:
    """Predicted time of a pass and its interval [s]."""
    model, arguments, changes = PASSES[name]
    described = workload(model)
    if changes:
        described = replace(described, dims=replace(described.dims, **changes))
    answer = forward(
        described, device, precision="fp32", fidelity="calibrated", attention="eager", **arguments
    )
    middle = float(answer.latency)
    low, high = spread(device)
    return middle, middle * low, middle * high


def _resnet(torch: Any) -> Callable[[], Any]:
    nn = torch.nn

    def unit(inside: int, outside: int, kernel: int, stride: int = 1, act: bool = True) -> list[Any]:
        made = [nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside)]
        return [*made, nn.ReLU(inplace=True)] if act else made

    blocks, inside = [], 64
    for stage, repeats in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for index in range(repeats):
            stride = 2 if stage and not index else 1
            body = nn.Sequential(
                *unit(inside, width, 1), *unit(width, width, 3, stride), *unit(width, 4 * width, 1, act=False)
            )
            skip = nn.Sequential(*unit(inside, 4 * width, 1, stride, act=False)) if not index else None
            blocks.append((body.eval(), skip.eval() if skip is not None else None))
            inside = 4 * width
    stem = nn.Sequential(*unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)).eval()
    head, image = nn.Linear(2048, 1000), torch.randn(1, 3, 224, 224)

    def run() -> Any:
        x = stem(image)
        for body, skip in blocks:
            x = torch.relu(body(x) + (x if skip is None else skip(x)))
        return head(x.mean((2, 3)))

    return run


@dataclass(frozen=True)
class Layer:
    """Weights of one transformer layer of width 768 with 12 heads."""

    qkv: Any
    out: Any
    up: Any
    down: Any
    first: Any
    second: Any

    @classmethod
    def random(cls, torch: Any) -> Layer:
        """Random weights."""
        linear, norm = torch.nn.Linear, torch.nn.LayerNorm
        return cls(
            linear(768, 2304), linear(768, 768), linear(768, 3072), linear(3072, 768), norm(768), norm(768)
        )

    def attend(self, torch: Any, x: Any, keys: Any = None, values: Any = None, causal: bool = False) -> Any:
        """Attention of x [tokens, 768] to itself, or as the last of keys and values [12, context, 64]."""
        q, k, v = self.qkv(x).view(len(x), 3, 12, 64).permute(1, 2, 0, 3)
        if keys is not None:
            keys[:, -len(x) :], values[:, -len(x) :] = k, v
            k, v = keys, values
        scores = torch.bmm(q, k.transpose(1, 2)) * 0.125
        if causal:
            scores = scores + torch.full(scores.shape[1:], float("-inf")).triu(1)
        mixed = torch.bmm(torch.softmax(scores, -1), v)
        return self.out(mixed.transpose(0, 1).reshape(len(x), 768))

    def feed(self, torch: Any, x: Any) -> Any:
        """Feed-forward part."""
        return self.down(torch.nn.functional.gelu(self.up(x)))


def _layers(torch: Any) -> Sequence[Layer]:
    return [Layer.random(torch) for _ in range(12)]


def _bert(torch: Any) -> Callable[[], Any]:
    layers, table, norm = _layers(torch), torch.randn(30522, 768), torch.nn.LayerNorm(768)
    positions, tokens = torch.randn(TOKENS, 768), torch.randint(0, 30522, (TOKENS,))

    def run() -> Any:
        x = norm(table[tokens] + positions)
        for layer in layers:
            x = layer.first(x + layer.attend(torch, x))
            x = layer.second(x + layer.feed(torch, x))
        return x

    return run


def _gpt2(torch: Any, layers: Sequence[Layer], table: Any, norm: Any) -> Callable[..., Any]:
    def run(x: Any, caches: Iterator[Any] | None = None) -> Any:
        for layer in layers:
            keys, values = next(caches) if caches is not None else (None, None)
            x = x + layer.attend(torch, layer.first(x), keys, values, causal=caches is None)
            x = x + layer.feed(torch, layer.second(x))
        return torch.nn.functional.linear(norm(x[-1:]), table)

    return run


def _prefill(torch: Any) -> Callable[[], Any]:
    table, tokens = torch.randn(50257, 768), torch.randint(0, 50257, (TOKENS,))
    run = _gpt2(torch, _layers(torch), table, torch.nn.LayerNorm(768))
    return lambda: run(table[tokens])


def _decode(torch: Any) -> Callable[[], Any]:
    table, token = torch.randn(50257, 768), torch.randint(0, 50257, (1,))
    caches = [(torch.randn(12, CONTEXT, 64), torch.randn(12, CONTEXT, 64)) for _ in range(12)]
    run = _gpt2(torch, _layers(torch), table, torch.nn.LayerNorm(768))
    return lambda: run(table[token], iter(caches))
