"""Calibration files of the kernel models: rebuilding them."""

import numpy as np
import pytest

from perfmodel.engine.kernels.facts import gpu_facts
from perfmodel.engine.kernels.stream import StreamCorrections, stream_time
from perfmodel.explore import fit_kernels
from perfmodel.hardware.catalog import device
from perfmodel.spec import load

KEPT = {"vllm/x/bfloat16": {"rows": 40, "spread": [0.9, 1.2], "values": {"launch": 2.5, "compute": 0.75}}}


@pytest.fixture
def table(tmp_path):
    """A file of 24 streaming kernels on an A100, four times slower in DRAM than documented."""
    rows, width = np.meshgrid([1e3, 1e4, 1e5, 1e6], [256.0, 512, 1024, 2048, 4096, 8192])
    seconds = stream_time(rows, width, 3.0, gpu_facts(device("a100-sxm-80gb")), StreamCorrections(dram=0.25))
    lines = [f"a100_sxm,any,kernel,fp8,{m:g},{k:g},{t * 1e6}" for m, k, t in
             zip(rows.flat, width.flat, seconds.seconds.flat, strict=True)]
    path = tmp_path / "stream.csv"
    path.write_text("\n".join(["system,backend,kernel_source,dtype,m,k,latency_us", *lines]))
    return path


def test_a_rebuild_replaces_the_families_it_has_rows_of_and_keeps_the_rest(table, tmp_path):
    path = tmp_path / "kernels-a100-sxm-80gb.yaml"
    old = {"stream": KEPT, "gemm": KEPT}
    path.write_text(fit_kernels.document("a100-sxm-80gb", ["a100-*"], old, "x", "2026-01-01"))
    assert path in fit_kernels.rebuild([table], tmp_path, "y", "2026-01-02", check=False)
    families = load(fit_kernels.KernelCalibration, path).families
    assert families["gemm"] == KEPT
    assert list(families["stream"]) == ["any/kernel/fp8"]
    assert families["stream"]["any/kernel/fp8"]["values"]["dram"] == pytest.approx(0.25, rel=0.1)
    assert not (tmp_path / "kernels-h100-sxm5.yaml").exists()  # no row of it
