"""How one op is laid out, as text: tile, split and waves of a GPU kernel, or the loop nest on an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perfmodel.engine.datasheet import matrix_fill
from perfmodel.engine.gpu import kernel_plan
from perfmodel.formats import Precision
from perfmodel.hardware.array import SpatialArray
from perfmodel.hardware.device import System
from perfmodel.ops.core import Op
from perfmodel.scenario.solve import NO_MAPPING

#: what a block of a kernel family splits with others
SPLIT_OF = {"matmul": "k", "attention": "the cache", "mla": "the cache"}


def mapping_texts(
    ops: Sequence[Op], system: System, precision: Precision, *, calibrated: bool, runtime: str
) -> Any:
    """Text of every point [mesh] (object array); of several ops, one line each with its name."""
    found = [_of_op(op, system, precision, calibrated, runtime) for op in ops]
    if len(found) == 1:
        return found[0]
    joined: Any = ""
    for op, texts in zip(ops, found, strict=True):
        line = np.asarray(texts, dtype=object)
        joined = joined + f"{op.name or op.family}: " + line + "\n"
    return np.asarray(joined, dtype=object)


def _of_op(op: Op, system: System, precision: Precision, calibrated: bool, runtime: str) -> Any:
    if isinstance(system.device.array, SpatialArray):
        return _nest(op, system, precision)
    plan = kernel_plan(op, system, precision, calibrated=calibrated, runtime=runtime)
    if plan is None:
        return _sustained(op, system)
    processors = system.device.compute["matrix"].count
    values = (
        plan.rows,
        plan.columns,
        plan.split,
        np.round(plan.waves, 2),
        0.0 if processors is None else processors,
    )
    parts = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in values))
    shape = parts[0].shape
    rows, places = np.unique(np.stack([p.reshape(-1) for p in parts], axis=1), axis=0, return_inverse=True)
    texts = np.array([_words(op.family, *row) for row in rows.tolist()], dtype=object)
    return texts[np.reshape(places, shape)]


def _sustained(op: Op, system: System) -> Any:
    """``sustained rates, matrix array of 128 x 128 filled to 50 %``: a device without kernel models."""
    unit = system.device.compute["matrix"]
    if unit.rows is None:
        return np.array("sustained rates", dtype=object)
    parts = np.broadcast_arrays(unit.rows, unit.columns, matrix_fill(op, system.device))
    texts = [
        f"sustained rates, matrix array of {rows:g} x {columns:g} filled to {fill:.0%}"
        for rows, columns, fill in zip(*(part.reshape(-1) for part in parts), strict=True)
    ]
    return np.reshape(np.array(texts, dtype=object), parts[0].shape)


def _words(family: str, rows: float, columns: float, split: float, waves: float, processors: float) -> str:
    """``tile 128 x 256, k split in 4, 1.5 waves of 132 blocks``."""
    words = [f"tile {rows:g} x {columns:g}"] if rows else []
    if family in SPLIT_OF:
        words.append(f"{SPLIT_OF[family]} {f'split in {split:g}' if split > 1.0 else 'not split'}")
    if waves:
        words.append(f"{waves:g} wave{'s' if waves != 1.0 else ''} of blocks")
        words[-1] += f" on {processors:g} processors" if processors else ""
    return ", ".join(words) or "one stream over the data"


def _nest(op: Op, system: System, precision: Precision) -> Any:
    from perfmodel.engine.dataflow.problem import PRODUCTS
    from perfmodel.engine.spatial import MOST_POINTS, mappings, mesh_shape

    if op.family not in PRODUCTS:
        return np.array(f"no mapping of {op.family}: the roofline answers", dtype=object)
    if int(np.prod(mesh_shape(op, system))) > MOST_POINTS:
        return np.array(f"not searched: more than {MOST_POINTS:,} points", dtype=object)
    found = mappings(op, system, precision)
    texts = np.empty(found.shape, dtype=object)
    for index in np.ndindex(found.shape):
        texts[index] = NO_MAPPING if found[index] is None else found[index].text()
    return texts


def as_labels(texts: Any, labels: dict[str, Any]) -> Mapping[str, Any]:
    """Codes of texts, which are kept as the labels of ``mapping``."""
    array = np.asarray(texts, dtype=object)
    known, codes = np.unique(array.reshape(-1).astype(str), return_inverse=True)
    labels["mapping"] = tuple(str(text) for text in known)
    return {"mapping": np.reshape(codes, array.shape)}
