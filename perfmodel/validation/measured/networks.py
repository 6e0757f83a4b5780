"""Tables of a few named networks per device: LeViT timings, Coral Edge TPU, nn-Meter reference predictions.

``calibrated`` predicts each network from the others on the same device (Edge TPU: by what its array, link and
host do, :mod:`perfmodel.validation.edge_tpu`); ``roofline`` from the datasheet alone, where there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from perfmodel.validation import edge_tpu
from perfmodel.validation.measured.left_out import one_left_out
from perfmodel.validation.measured.rows import counted
from perfmodel.validation.measured.spaces import counts
from perfmodel.validation.measured.statistics import averaged, errors
from perfmodel.validation.measured.tables import Table

NAME = "networks"
#: columns of each table: device, network, times [s] from the table
TABLES = {
    "levit": {"device", "model", "batch", "images_per_s"},
    "coral": {"host", "model", "latency_ms"},
    "nn_meter": {"predictor", "model", "file_format", "predicted_latency_ms"},
}
#: device of a table -> (description, number format)
DEVICES = {
    "Tesla V100-SXM2-16GB": ("v100-sxm2-16gb", "fp16"),
    "aarch64": ("edge-tpu", "int8"),
    "x86_64": ("edge-tpu", "int8"),
    "rp3b": ("edge-tpu", "int8"),
}
#: host of an Edge TPU -> its link [B/s]: PCIe 2.0 x1 of the Dev Board, USB 3, USB 2; others: what fits better
LINKS = {"aarch64": 0.5e9, "x86_64": 0.5e9, "rp3b": 480e6 / 8}
#: network of a table -> workload, where the letters do not lead there
WORKLOADS = {
    "vit_deit_tiny_distilled_patch16_224": "deit-ti-distilled",
    "densenet": "densenet-121",
    "vit_deit_small_distilled_patch16_224": "deit-s-distilled",
    "googlenet": "inception-v1",
    "inception_v1_224_quant": "inception-v1",
    "inception_v4_299_quant": "inception-v4",
    "ssd_mobilenet_v1_coco_quant_postprocess": "ssd-mobilenet-v1",
    "mnasnet": "mnasnet-b1",
    "mobilenet_v1_1.0_224_quant": "mobilenet-v1",
    "mobilenet_v2_1.0_224_quant": "mobilenet-v2",
    "squeezenet": "squeezenet-1.1",
    "shufflenetv2": "shufflenet-v2",
    "proxylessnas": "proxyless-mobile",
}


def recognises(header: frozenset[str]) -> bool:
    """True for one of the three tables."""
    return any(columns <= header and "latency_us" not in header for columns in TABLES.values())


@cache
def workload_name(network: str) -> str:
    """Workload of a network of a table; empty where none is described."""
    from perfmodel.workload.workload import workloads

    if network in WORKLOADS:
        return WORKLOADS[network]
    letters = re.sub(r"[^a-z0-9]", "", network.lower())
    return next((name for name in workloads() if re.sub(r"[^a-z0-9]", "", name) == letters), "")


@cache
def features(name: str) -> Mapping[str, float]:
    """Amounts of one image: operations by kind, elements moved, weights, kernels."""
    from perfmodel.workload.workload import workload

    found = counts(workload(name).graph(batch=1.0), 1)
    deep = [k for k in found if "depthwise" in k]

    def total(word: str, among: list[str] | None = None) -> float:
        return float(sum(found[k][0] for k in (among or found) if k.startswith(word)))

    return {
        "operations": total("operations") - total("operations", deep or [""])
        if deep
        else total("operations"),
        "operations depthwise": total("operations", deep) if deep else 0.0,
        "elements": total("elements"),
        "weights": total("weights"),
        "kernels": total("kernels"),
    }


def rows(table: Table) -> tuple[Any, Any, Any, Any]:
    """Device, network, batch and seconds of one batch of each row."""
    kind = next(name for name, columns in TABLES.items() if columns <= table.header)
    networks = table.texts("model")
    one = np.ones(len(networks))
    if kind == "levit":
        batch = table.numbers("batch")
        return table.texts("device"), networks, batch, batch / table.numbers("images_per_s")
    if kind == "coral":
        return table.texts("host"), networks, one, table.numbers("latency_ms") * 1e-3
    devices = [f"{p} {f}" for p, f in zip(table.texts("predictor"), table.texts("file_format"), strict=True)]
    return np.array(devices), networks, one, table.numbers("predicted_latency_ms") * 1e-3


def score(table: Table, fidelity: str | None = None) -> dict[str, Any]:
    """Errors by device."""
    devices, networks, batch, seconds = rows(table)
    if TABLES["coral"] <= table.header and fidelity not in ("roofline", "dataflow"):
        return _edge_tpu(devices, networks, seconds)
    described = np.array([bool(workload_name(n)) for n in networks])
    known = described & np.isfinite(seconds)
    groups = []
    for device in np.unique(devices):
        mine = np.flatnonzero((devices == device) & known)
        if fidelity in ("roofline", "dataflow"):
            if str(device) in DEVICES:
                guess = _bound(str(device), networks[mine], batch[mine], fidelity)
                groups.append({"device": str(device), **errors(guess, seconds[mine])})
        elif len(mine) >= 4:
            guess, low, high = _left_out(str(device), networks[mine], batch[mine], seconds[mine])
            groups.append({"device": str(device), **errors(guess, seconds[mine], low, high)})
    return {
        "fidelity": fidelity or "calibrated",
        "split": "one network left out",
        "summary": averaged(groups) if groups else {"n": 0},
        "groups": groups,
        "skipped": counted("network without a description", networks[~described]),
    }


def _edge_tpu(devices: Any, networks: Any, seconds: Any) -> dict[str, Any]:
    """Each network of a host from its other networks."""
    described = np.array([n in edge_tpu.NETWORKS for n in networks])
    known = described & np.isfinite(seconds)
    groups = []
    for host in np.unique(devices):
        mine = np.flatnonzero((devices == host) & known)
        if len(mine) < 4:
            continue
        links = (LINKS[str(host)],) if str(host) in LINKS else tuple(sorted(set(LINKS.values())))
        out = np.empty((3, len(mine)))
        for i in range(len(mine)):
            rest = np.delete(mine, i)
            model, link = edge_tpu.best_link(networks[rest], seconds[rest], links)
            x = edge_tpu.features(networks[mine[i : i + 1]], link)
            out[:, i] = [model.predict(x)[0], *(float(v[0]) for v in model.interval(x))]
        groups.append({"device": str(host), **errors(out[0], seconds[mine], out[1], out[2])})
    return {
        "fidelity": "calibrated", "split": "one network left out",
        "summary": averaged(groups) if groups else {"n": 0}, "groups": groups,
        "skipped": counted("network without a description", networks[~described]),
    }


def _left_out(device: str, networks: Any, batch: Any, seconds: Any) -> tuple[Any, Any, Any]:
    found = [features(workload_name(n)) for n in networks]
    # per image: large batches leave the kernels and the weights behind
    per = {
        key: np.array([f[key] for f in found]) / (batch if key in ("kernels", "weights") else 1.0)
        for key in found[0]
    }
    guess, low, high = one_left_out(per, seconds / batch)
    return guess * batch, low * batch, high * batch


def _bound(device: str, networks: Any, batch: Any, fidelity: str) -> Any:
    from perfmodel.scenario.forward import forward

    spec, precision = DEVICES[device]
    return np.array(
        [
            float(
                forward(
                    workload_name(n), spec, batch=float(b), precision=precision, fidelity=fidelity
                ).latency
            )
            for n, b in zip(networks, batch, strict=True)
        ]
    )
