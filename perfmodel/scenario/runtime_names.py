"""Other names of runtimes, and the names of their kernels in tables: data in ``runtime_names.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from perfmodel.spec import FrozenMap, Provenance, load, table, text


@dataclass(frozen=True, kw_only=True)
class RuntimeNames:
    """Spellings and kernels of runtimes."""

    sources_required = False

    aliases: Mapping[str, str] = table(text(), doc="other spelling -> profile")
    kernels: Mapping[str, str] = table(text(), doc="profile -> name in tables of kernel measurements")
    provenance: FrozenMap[Provenance] = field(default_factory=FrozenMap, compare=False, repr=False)


@cache
def names() -> RuntimeNames:
    """The shipped names."""
    return load(RuntimeNames, Path(__file__).with_suffix(".yaml"))


def canonical(name: str) -> str:
    """Name of a profile for any of its spellings; an unknown name is returned as it is.

    Letters and digits count, in either case: ``vLLM``, ``TensorRT-LLM`` and ``llama.cpp`` are profiles.
    """
    return _spellings().get(_plain(name), name)


@cache
def _spellings() -> Mapping[str, str]:
    from perfmodel.scenario.runtime import runtimes

    return {_plain(k): v for k, v in (*names().aliases.items(), *((r, r) for r in runtimes()))}


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def kernels_of(name: str) -> str:
    """What tables of kernel measurements call the software of a runtime.

    Raises UnknownNameError with the nearest runtime.
    """
    from perfmodel.scenario.runtime import runtime

    runtime(name)
    profile = canonical(name)
    return names().kernels.get(profile, profile)
