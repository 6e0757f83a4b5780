"""Cost of one serving step: a roofline over a dozen counts of the model with few dimensionless corrections.

A step carries `decode` tokens (one per running sequence) and `prefill` tokens.  Its duration is a sum of

    dense and expert products   ((W/b)^p + (2 W T/f)^p)^(1/p), W weights touched, T tokens
    attention                   cache read at bandwidth b, scores and values at the fraction of the peak that
                                short queries reach; prompts at ``a I/(I + 2000)`` of the peak
    elementwise traffic         activations of all other ops
    kernel starts               launches x time per kernel of the runtime
    collectives                 alpha-beta, two all-reduces per layer, dispatch and combine between data ranks
    host                        per step and per sequence, of the runtime

References
[1] Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009, doi:10.1145/1498765.1498785.
[2] Jiang et al., MoE-CAP, arXiv:2412.07067 (experts touched by a batch).
[3] Thakur, Rabenseifner, Gropp, IJHPCA 19(1), 2005, doi:10.1177/1094342005051521 (alpha-beta).
[4] Zhong et al., DistServe (disaggregated prefill and decode), arXiv:2401.09670, section 3.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfmodel.algebra import Value, log2, maximum, minimum, total, where
from perfmodel.engine.collective import sent_bytes
from perfmodel.formats import find_format
from perfmodel.hardware.device import System
from perfmodel.ops.moe import distinct_experts
from perfmodel.scenario.corrections import Corrections
from perfmodel.scenario.runtime import Runtime
from perfmodel.scenario.serving import cache_slots
from perfmodel.scenario.serving_counts import StepCounts

#: widest format of a head and of activations on the wire [B]
WIDE = 2.0

#: recurrent states are kept in 32 bits [B]
STATE_BYTES = 4.0

#: sharpness of the maximum of memory and arithmetic time in grouped products
EXPERT_SHARPNESS = 4.0

LOG_2 = 0.6931471805599453

#: slots of a memory without a limit
INFINITE = 1e12


@dataclass(frozen=True)
class Layout:
    """How an instance is spread over devices.

    tp          tensor-parallel devices of attention and dense parts
    dp          replicas of attention with requests of their own (attention data parallelism)
    moe_tp, ep  how each expert, and the set of experts, is divided; moe_tp x ep = tp x dp
    """

    tp: Value = 1.0
    dp: Value = 1.0
    moe_tp: Value = 1.0
    ep: Value = 1.0

    @property
    def devices(self) -> Value:
        """Devices of the instance."""
        return self.tp * self.dp


@dataclass(frozen=True)
class Hardware:
    """Rates of one device and its links [FLOP/s, B/s, B, s]."""

    bandwidth: Value
    capacity: Value
    peaks: Mapping[str, Value]
    link: Value
    latency: Value
    node: Value
    far_link: Value
    power: Value = float("nan")
    idle: Value = float("nan")

    @classmethod
    def of(cls, system: System) -> Hardware:
        """Nominal rates of a system."""
        device = system.device
        links = {**device.links, **system.links}
        near = next(iter(links.values()), None)
        far = list(links.values())[-1] if len(links) > 1 else near
        power, held = device.power, device.main_memory.capacity
        return cls(
            bandwidth=device.main_memory.bandwidth, capacity=float("inf") if held is None else held,
            peaks=device.compute["matrix"].peak,
            link=near.bandwidth if near is not None else float("inf"),
            latency=near.latency if near is not None else 0.0,
            node=(near.devices if near is not None and near.devices is not None else system.count),
            far_link=far.bandwidth if far is not None else float("inf"),
            power=power.peak if power is not None and power.peak is not None else float("nan"),
            idle=power.idle if power is not None and power.idle is not None else float("nan"),
        )

    def peak(self, math: str) -> tuple[str, Value]:
        """Format in which the matrix unit multiplies operands of `math`, or the next wider, and its peak."""
        order = ("fp4", "fp8", "bf16", "fp16", "fp32")
        for key in (math, *order[order.index(math) if math in order else 1:]):
            if key in self.peaks:
                return key, self.peaks[key]
        return next(iter(self.peaks.items()))


@dataclass(frozen=True)
class Numbers:
    """How weights and cache are stored and multiplied: bytes per element and large-product rates [FLOP/s].

    fused  1 where the experts of a mixture layer run as one kernel (4-bit products), else 0
    """

    dense_bytes: Value
    expert_bytes: Value
    cache_bytes: Value
    dense_rate: Value
    expert_rate: Value
    wide_rate: Value
    wide_peak: Value
    fused: Value = 0.0

    @classmethod
    def of(
        cls, hardware: Hardware, fix: Corrections, dense: str, experts: str | None = None,
        cache: str | None = None, weight_only: bool = False,
    ) -> Numbers:
        """Numbers of formats by name; the cache defaults to fp8 where any weights are narrow, else bf16.

        weight_only  narrow weights are widened and multiplied in bf16
        """
        kinds = [find_format(dense), find_format(experts or dense)]
        kept = find_format(cache or ("bf16" if min(f.bits for f in kinds) > 8 else "fp8"))
        found = [hardware.peak("bf16" if weight_only and f.bits < 16 else f.compute) for f in kinds]
        rates = [peak * fix.fraction(key) for key, peak in found]
        key, wide = hardware.peak("bf16")
        fused = 1.0 if found[1][0] == "fp4" else 0.0
        general = wide * fix.fraction(key)
        return cls(kinds[0].bytes, kinds[1].bytes, kept.bytes, rates[0], rates[1], general, wide, fused)


def soft_maximum(a: Value, b: Value, sharpness: Value) -> Value:
    """``(a^p + b^p)^(1/p)``: the sum for p = 1, the maximum for p -> infinity."""
    return (a**sharpness + b**sharpness) ** (1.0 / sharpness)


@dataclass(frozen=True)
class StepCost:
    """Duration of a step as a function of its decode and prefill tokens (of the whole instance).

    prompt, context  tokens of a prompt, and mean cached tokens of a decode token
    width            tokens that a sequence verifies in one step (1 + drafted)
    routed  tokens that pick experts independently; None: all (identical prompts pick the same experts)
    """

    counts: StepCounts
    hardware: Hardware
    layout: Layout
    numbers: Numbers
    runtime: Runtime
    corrections: Corrections
    prompt: Value
    context: Value
    width: Value = 1.0
    routed: Value | None = None

    def __call__(self, decode: Value, prefill: Value) -> Value:
        """Duration [s]."""
        return total(self.parts(decode, prefill).values())

    def parts(self, decode: Value, prefill: Value) -> dict[str, Value]:
        """Duration by cause [s]."""
        c, lay = self.counts, self.layout
        tokens = (decode + prefill) / lay.dp
        mine = decode / lay.dp
        return {
            "dense": self.product(c.dense, tokens, self.numbers.dense_bytes, self.numbers.dense_rate),
            "head": self.head(mine, prefill / lay.dp),
            "experts": self.experts(decode + prefill),
            "attention": self.attention(mine, prefill / lay.dp),
            "elementwise": self.elementwise(tokens, decode + prefill),
            "kernels": self.kernels(),
            "collectives": self.collectives(tokens, decode + prefill),
            "host": self.runtime.step + self.runtime.request * mine / self.width,
        }

    @property
    def bandwidth(self) -> Value:
        """Achieved memory bandwidth [B/s]."""
        return self.hardware.bandwidth * self.corrections.bandwidth

    def product(
        self, weights: Value, tokens: Value, size: Value, rate: Value, used: Value = None,
        sharpness: Value = None,
    ) -> Value:
        """Weights of `size` bytes read once; `tokens` tokens use all of them, or `used` of them each [s]."""
        reached = rate * self.corrections.compute * self.runtime.compute
        work = 2.0 * (weights if used is None else used) * tokens / reached
        bend = self.corrections.sharpness if sharpness is None else sharpness
        return soft_maximum(weights * size / self.bandwidth, work, bend)

    def head(self, decode: Value, prefill: Value) -> Value:
        """Head over the last position of every sequence, in 16 bits [s]."""
        rows = decode + prefill / maximum(self.prompt, 1.0)
        return self.product(self.counts.head, rows, WIDE, self.numbers.wide_rate)

    def experts(self, tokens: Value) -> Value:
        """Experts touched on the fullest device, expected under uniform routing [2]."""
        c, lay = self.counts, self.layout
        alike = tokens if self.routed is None else minimum(tokens, self.routed)
        touched = distinct_experts(c.experts, c.top_k, maximum(alike, 1.0))
        mean = touched / lay.ep
        free = maximum(1.0 - touched / c.experts, 0.0)
        spread = (2.0 * LOG_2 * log2(lay.ep) * mean * free) ** 0.5
        fullest = minimum(mean + spread, c.experts / lay.ep)
        used = c.expert * c.top_k / (lay.moe_tp * lay.ep)
        held = c.expert * fullest / lay.moe_tp
        rate = self.numbers.expert_rate * self.corrections.grouped
        return self.product(held, tokens, self.numbers.expert_bytes, rate, used, EXPERT_SHARPNESS)

    def attention(self, decode: Value, prefill: Value) -> Value:
        """Cache and state of the running sequences, scores and values of decode tokens and prompts."""
        c, fix = self.counts, self.corrections
        sequences = decode / self.width
        peak = self.numbers.wide_peak
        moved = sequences * (c.cache * self.numbers.cache_bytes + STATE_BYTES * c.state) / self.bandwidth
        short = decode * c.decode_mixing / (peak * self.runtime.decode_attention)
        reached = peak * self.runtime.compute * fix.attention_prefill
        long = (prefill / self.prompt) * c.prompt_mixing / (
            reached * self.prompt / (self.prompt + fix.attention_half)
        )
        serial = where(decode > 0.0, self.runtime.serial_attention * c.chain, 0.0)
        return soft_maximum(moved, short, fix.sharpness) + long + serial

    def elementwise(self, tokens: Value, all_tokens: Value) -> Value:
        """Activations that ops other than products move."""
        c = self.counts
        elements = tokens * c.traffic + all_tokens * c.expert_traffic / self.layout.devices
        return self.corrections.elementwise * WIDE * elements / self.bandwidth

    def kernels(self) -> Value:
        """Kernel starts; 4-bit experts run as one fused kernel."""
        c = self.counts
        fused = 1.0 + self.numbers.fused * (self.corrections.fused_experts - 1.0)
        return self.runtime.kernel * (c.launches - c.expert_launches + fused * c.expert_launches)

    def starts(self) -> Value:
        """Host time to start the kernels of a prompt one by one; none for prompts that a graph holds [s]."""
        c, run = self.counts, self.runtime
        starts = run.eager * (c.launches - c.expert_launches) + run.eager_experts * c.expert_launches
        return where(self.prompt > run.graph, starts, 0.0)

    def collectives(self, tokens: Value, all_tokens: Value) -> Value:
        """All-reduces of the tensor-parallel group; dispatch and combine between data-parallel ranks [3]."""
        c, lay, hw, fix = self.counts, self.layout, self.hardware, self.corrections
        near = where(lay.tp > hw.node, hw.far_link, hw.link) * fix.link
        wide = where(lay.devices > hw.node, hw.far_link, hw.link) * fix.link
        alpha = self.runtime.collective * fix.latency * hw.latency
        reduce = c.reductions * alpha * (1.0 + log2(lay.tp)) + (
            sent_bytes("all_reduce", tokens * c.reduced * WIDE, lay.tp) / near
        )
        # tokens of a device: all of them gathered, or one copy for each pick of its own
        copies = minimum(all_tokens, tokens * c.top_k)
        routed = c.moe_layers * (
            2.0 * alpha * (1.0 + log2(lay.devices))
            + copies * c.hidden * 1.5 * WIDE * (lay.devices - 1.0) / lay.devices / wide
        )
        return where(lay.tp > 1.0, reduce, 0.0) + where(lay.dp > 1.0, routed, 0.0)

    def memory(self) -> Value:
        """Weights of one device [B]."""
        c, lay = self.counts, self.layout
        experts = c.expert * c.experts / (lay.moe_tp * lay.ep)
        dense = c.dense * self.numbers.dense_bytes + (c.head + c.embedding) * WIDE
        return dense + experts * self.numbers.expert_bytes

    def request_cache(self, tokens: Value) -> Value:
        """Cache and state that a request of `tokens` cached tokens keeps on one device [B]."""
        per_token = self.counts.stored_cache * self.numbers.cache_bytes / self.context
        return per_token * tokens + STATE_BYTES * self.counts.state / 2.0

    def transfer(self, tokens: Value, devices: Value) -> Value:
        """Time to hand the cache of `tokens` tokens to another instance [s].

        Each device sends its part to its counterpart [4], between nodes where `devices` do not fit in one.
        """
        hw, fix = self.hardware, self.corrections
        link = where(devices > hw.node, hw.far_link, hw.link) * fix.link
        return fix.latency * hw.latency + self.request_cache(tokens) / link

    def slots(self, tokens: Value) -> Value:
        """Requests of `tokens` cached tokens that the memory of the instance holds.

        No limit where the weights alone exceed it: whether they fit is for the caller to refuse.
        """
        run, capacity = self.runtime, self.hardware.capacity
        weights = self.memory()
        per_token = self.counts.stored_cache * self.numbers.cache_bytes / self.context
        room = cache_slots(
            capacity, weights, per_token, tokens, state=STATE_BYTES * self.counts.state / 2.0,
            memory_fraction=run.memory_fraction, reserve=run.reserve, block=run.block,
        )
        fits = run.memory_fraction * capacity - weights - run.reserve > 0.0
        return where(fits, room * self.layout.dp, INFINITE)
