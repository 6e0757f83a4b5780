"""Names that measurement tables use for models and devices, and the descriptions they mean."""

from __future__ import annotations

import os
import re
from functools import cache
from os import PathLike
from pathlib import Path

from perfmodel.errors import UnknownNameError
from perfmodel.hardware.catalog import devices
from perfmodel.workload.workload import Workload, workload, workloads

#: device name in a table, lower case -> name of the spec; others are matched by their letters
DEVICES = {
    "h100_sxm": "h100-sxm5", "nvidia h100 gpu": "h100-sxm5", "nvidia a100 gpu": "a100-sxm-40gb",
    "nvidia gh200 gpu": "gh200", "nvidia gh200": "gh200", "amd mi300x gpu": "mi300x",
    "amd mi250 gpu": "mi250",
    "intel max 1550": "max-1550", "intel pvc gpu": "max-1550", "habana gaudi2": "gaudi2",
    "a100_sxm": "a100-sxm-80gb", "a100_pcie": "a100-pcie-80gb",
}

#: published model -> name of the description, where the letters do not lead there
MODELS = {
    "deepseek-r1": "deepseek-v3", "deepseek-v3.1": "deepseek-v3", "deepseek-r1-0528": "deepseek-v3",
    "minimax-m2": "minimax-m2.5", "llama-4-scout-17b": "llama-4-scout",
    "llama-7b": "llama-2-7b", "llama-13b": "llama-2-13b", "mistral-7b-v0.1": "mistral-7b",
    "qwen2-7b": "qwen2.5-7b", "qwen2-72b": "qwen2.5-72b", "qwen2-1.5b": "qwen2.5-1.5b",
}

#: endings of a model path that name a checkpoint, not an architecture: training, format, version, date
ENDING = re.compile(
    r"-(instruct|thinking|chat|it|base|hf|exp|fp8|fp4|nvfp4|mxfp4|bf16|int4|dynamic|block|awq|gptq"
    r"|\d+k|\d+e|v\d+(\.\d+)?|\d{4})$"
)
#: publishers that repeat their name in that of the model
PUBLISHERS = ("meta-", "nvidia-")


@cache
def hardware_name(name: str) -> str:
    """Spec name of a device of a table.  Raises UnknownNameError."""
    low = name.strip().lower()
    if low in DEVICES:
        return DEVICES[low]
    want = _letters(low.replace("gpu", "").replace("nvidia", "").replace("amd", ""))
    for spec in devices():
        if _letters(spec) == want:
            return spec
    for spec in devices():
        if want and _letters(spec).startswith(want):
            return spec
    inside = [spec for spec in devices() if want.startswith(_letters(spec))]
    if inside:
        return max(inside, key=len)
    raise UnknownNameError("device", name, devices())


def config_folders(beside: str | PathLike[str] = "") -> tuple[Path, ...]:
    """Folders ``configs`` of model configurations: of PERFMODEL_SHARED, and above a data file."""
    shared = os.environ.get("PERFMODEL_SHARED")
    above = Path(beside).resolve().parents if beside else ()
    places = ([Path(shared)] if shared else []) + list(above)
    return tuple(p / "configs" for p in places if (p / "configs").is_dir())


@cache
def served_workload(path: str, folders: tuple[Path, ...] = ()) -> Workload:
    """Workload of a model path such as ``meta-llama/Llama-3.1-8B-Instruct``.

    Shipped descriptions first, then ``<name>.json`` in the folders.  Raises UnknownNameError.
    """
    tries = candidates(path)
    known = {_letters(name): name for name in workloads()}
    for name in tries:
        if _letters(name) in known:
            return workload(known[_letters(name)])
    found = {_letters(f.stem): f for folder in folders for f in sorted(folder.glob("*.json"))}
    for name in tries:
        if _letters(name) in found:
            return workload(found[_letters(name)])
    raise UnknownNameError("workload", path, workloads())


def candidates(path: str) -> list[str]:
    """Names under which the model of a path may be described, the most literal first."""
    base = path.rsplit("/", 1)[-1].lower()
    names = [base]
    while ENDING.search(names[-1]):
        names.append(ENDING.sub("", names[-1]))
    names += [n.removeprefix(publisher) for publisher in PUBLISHERS for n in names if n.startswith(publisher)]
    names += [MODELS[n] for n in names if n in MODELS]
    return list(dict.fromkeys(names))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
