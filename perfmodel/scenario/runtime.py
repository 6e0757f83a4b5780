"""Runtime profiles: what a serving engine adds to the device, as data in ``runtimes.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from perfmodel.algebra import Value
from perfmodel.errors import UnknownNameError
from perfmodel.scenario.runtime_names import canonical
from perfmodel.spec import FrozenMap, Provenance, load, many, quantity, table, text


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One serving engine.

    Times are wall-clock costs that no faster device removes; fractions are of the device.
    """

    title: str = text(default="", doc="full name")
    kernel: Value = quantity("s", default=0.0, positive=False, low=0.0, doc="from one kernel to the next")
    eager: Value = quantity("s", default=0.0, positive=False, low=0.0,
                            doc="host, to start a kernel of a prompt, which runs without a graph")
    eager_experts: Value = quantity("s", default=0.0, positive=False, low=0.0,
                                    doc="the same for a kernel of an expert layer")
    graph: Value = quantity("count", default=0.0, positive=False, low=0.0,
                            doc="tokens of the largest step with prompts that is replayed from a graph")
    step: Value = quantity("s", default=0.0, positive=False, low=0.0, doc="host time per step")
    request: Value = quantity("s", default=0.0, positive=False, low=0.0, doc="host, per sequence and step")
    compute: Value = quantity("1", default=1.0, doc="rate of its products over that of the corrections")
    collective: Value = quantity("1", default=1.0, doc="latency of a collective over that of the corrections")
    decode_attention: Value = quantity("1", default=1.0,
                                       doc="fraction of the bf16 peak in attention of single tokens")
    serial_attention: Value = quantity("s", default=0.0, positive=False, low=0.0,
                                       doc="per context token and layer, where the cache is not split")
    first_token: Value = quantity("s", default=0.0, positive=False, low=0.0, doc="handling of a new request")
    first_steps: Value = quantity("1", default=0.0, positive=False, low=0.0,
                                  doc="steps before a new request is scheduled and its token handed out")
    burst: Value = quantity("1", default=0.0, positive=False, low=0.0, high=1.0,
                            doc="share of the other prompts that a new one waits behind")
    memory_fraction: Value = quantity("1", default=0.9, high=1.0, doc="share of memory it may use")
    reserve: Value = quantity("B", default=0.0, positive=False, low=0.0, doc="workspace and graphs")
    block: Value = quantity("count", default=16.0, doc="cache tokens that are allocated together")
    chunk: Value = quantity("count", default=8192.0, doc="prefill tokens of one step at most")
    whole_waves: Value = quantity("1", default=0.0, positive=False, low=0.0, high=1.0,
                                  doc="1: the whole cache is reserved at the start; 0: as it grows")
    fuses: tuple[str, ...] = many(text(), default=(), doc="groups of ops that run as one kernel")
    source: str = text(default="", doc="where the numbers come from, and the error of the fit")


@dataclass(frozen=True, kw_only=True)
class _Profiles:
    sources_required = False

    runtimes: Mapping[str, Runtime] = table(Runtime, doc="name -> profile")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


#: an engine that costs nothing beside the device
IDEAL = Runtime(title="no overhead", memory_fraction=1.0, block=1.0)


@cache
def profiles(path: str = "") -> Mapping[str, Runtime]:
    """All shipped profiles, or those of a file."""
    file = Path(path) if path else Path(__file__).with_name("runtimes.yaml")
    return load(_Profiles, file).runtimes


def runtimes() -> tuple[str, ...]:
    """Names of the shipped profiles."""
    return ("ideal", *profiles())


def runtime(name: str | Runtime) -> Runtime:
    """Profile of a serving engine by name.  Raises UnknownNameError with the nearest match."""
    if isinstance(name, Runtime):
        return name
    name = canonical(str(name))
    if name == "ideal":
        return IDEAL
    if name not in profiles():
        raise UnknownNameError("runtime", name, runtimes())
    return profiles()[name]
