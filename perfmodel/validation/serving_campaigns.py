"""What the measuring campaigns of the serving table ran, from their public scripts; never from a measurement.

The points of 1024/1024, 1024/8192 and 8192/1024 tokens come from the scripts of [1], which

* draw prompt and answer lengths uniformly between 0.8 and 1 times the nominal ones;
* send ten requests per client, the first of all clients at the same time, and report means over all of them;
* let TensorRT-LLM hold back prompts for 20 steps for Llama-70B at 1024/1024 on fewer than 8 devices
  (`batch_wait_timeout_iters`), and take 16,384 tokens per step; one prompt per step for DeepSeek-V3 until
  2026-01-21, at least 8,192 tokens after;
* let SGLang on B200 look for new requests every 30 steps, below 16 clients every 10
  (`scheduler-recv-interval`), which is half of that on average, and take 16,384 (4-bit) or 32,768 tokens;
* let vLLM take 8,192 tokens per step; in later scripts of some models (`WIDE_GRAPHS`) two prompts, and replay
  steps of up to 2,048 tokens from graphs (`max-cudagraph-capture-size`).

Read from the rows of another campaign, not from a script: TensorRT-LLM 1.0.0rc3 with dense models ran one
request less than the stated number (at 8 to 32 clients the mean first token holds 1/C of a whole request, in
all 24 groups of sizes and devices).

vLLM 0.12.0 at other sizes was measured as [2] writes it down for Dynamo 0.8, which holds this build (the
concurrency is the batch that [2] proposes): 50 requests per client after two that are not counted, each one
of 100 different prompts at random, which is what [3] sends when no number is asked for. A step takes a
prompt, 1,500 tokens and one for each client. No option turns the cache of the engine off, so nearly all
prompts of dense models are taken to be found there. Read from first tokens, not from a script: those of
mixtures and of SGLang 0.5.6.post2 at the same points grow with the prompt as if none was found; those of
dense models are shorter than their prompts take up to 4,000 tokens, and longer at 8,000.

References
[1] SemiAnalysis InferenceX (before 2026: InferenceMAX), `benchmarks/*.sh` and
    `.github/workflows/benchmark-tmpl.yml` between commits 9596d23 (2025-10-29) and bddbf40 (2026-04-03),
    https://github.com/SemiAnalysisAI/InferenceX, Apache-2.0.
[2] NVIDIA aiconfigurator, `generator/config/backend_templates/*/{bench_run.sh,cli_args.0.12.0}.j2`,
    `generator/rule_plugin/benchmark/vllm.rule`, 875ddc5 (2026-02-13), github.com/ai-dynamo/aiconfigurator.
[3] NVIDIA AIPerf, `common/config/config_defaults.py`, `dataset/dataset_manager.py`, db4f639 (2025-10-10),
    https://github.com/ai-dynamo/aiperf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Row = Mapping[str, str]

#: nominal prompt and answer tokens of the points of [1]
SHAPES = {("1024", "1024"), ("1024", "8192"), ("8192", "1024")}
#: builds that another campaign measured with some of the same sizes
OTHER_BUILDS = ("1.0.0rc3",)
#: (engine, build) measured by [2]
REPEATING = (("vllm", "0.12.0"),)
#: of such a run: different prompts, requests per client, uncounted ones, tokens beside a prompt
DISTINCT, LONG_ROUNDS, WARM_ROUNDS, SPARE = 100.0, 50.0, 2.0, 1500.0
#: mean length over nominal length, of a uniform draw between 0.8 and 1
MEAN_LENGTH = 0.9
#: requests per client
ROUNDS = 10.0
#: first date on which DeepSeek-V3 on TensorRT-LLM took at least 8,192 tokens per step
WIDER = "2026-01-21"

#: model, number format and first date of vLLM on B200 with steps of up to GRAPH tokens from graphs
WIDE_GRAPHS = (
    ("minimax", "fp8", "2026-04-03"), ("minimax", "nvfp4", "2026-04-08"), ("kimi", "nvfp4", "2026-04-20"),
)
GRAPH = 2048.0


@dataclass(frozen=True)
class Options:
    """How a point was measured.

    length  mean over nominal prompt and answer length
    rounds  requests per client, inf where it is not known
    hold    steps for which a prompt is held back on average
    chunk   prompt tokens of one step at most; nan: what the profile of the engine says
    slots   requests that run at once at most
    graph   tokens of the largest step from a graph; nan: what the profile says
    distinct  different prompts that requests are drawn from, which the engine keeps; inf: all differ
    """

    length: np.ndarray
    rounds: np.ndarray
    hold: np.ndarray
    chunk: np.ndarray
    slots: np.ndarray
    graph: np.ndarray
    distinct: np.ndarray

    @classmethod
    def unknown(cls, rows: int) -> Options:
        """Nothing known beside the table."""
        one = np.ones(rows)
        return cls(one, np.inf * one, 0.0 * one, np.nan * one, np.inf * one, np.nan * one, np.inf * one)

    def repeated(self, clients: np.ndarray) -> np.ndarray:
        """Share of the counted prompts that were sent before.

        Of K prompts ``K exp(-n/K)`` are still new after n random draws.
        """
        kept = np.where(np.isfinite(self.distinct), self.distinct, 1.0)
        drawn = clients / kept
        counted = np.where(np.isfinite(self.distinct), self.rounds, 1.0)
        new = np.exp(-WARM_ROUNDS * drawn) * -np.expm1(-counted * drawn) / (counted * drawn)
        return np.asarray(np.where(np.isfinite(self.distinct), 1.0 - new, 0.0))


def options(rows: Sequence[Row]) -> Options:
    """Options of each row."""
    found = np.array([_options(row) for row in rows], dtype=np.float64).reshape(-1, 7)
    return Options(*found.T)


def _options(row: Row) -> tuple[float, ...]:
    sizes = (row.get("isl_tokens") or "", row.get("osl_tokens") or "")
    build, clients = row.get("backend_version"), float(row.get("source_concurrency") or 0.0)
    if (row.get("backend"), build) in REPEATING and sizes not in SHAPES:
        return 1.0, LONG_ROUNDS, 0.0, clients + float(sizes[0]) + SPARE, np.inf, np.nan, DISTINCT
    if build in OTHER_BUILDS or sizes not in SHAPES:
        short = build in OTHER_BUILDS and not row.get("moe_dtype") and clients > 1.0
        return 1.0, np.inf, 0.0, np.nan, clients - 1.0 if short else np.inf, np.nan, np.inf
    graph = GRAPH if _wide_graphs(row) else np.nan
    return MEAN_LENGTH, ROUNDS, _hold(row, sizes), _chunk(row, float(sizes[0])), np.inf, graph, np.inf


def _hold(row: Row, sizes: tuple[str, str]) -> float:
    """Steps for which the scheduler leaves a new prompt waiting."""
    backend, clients = row.get("backend"), float(row.get("source_concurrency") or 0.0)
    if row.get("mode") == "disagg":
        return 0.0
    if backend == "sglang" and row.get("system") == "b200_sxm":
        return 15.0 if clients >= 16 else 5.0
    devices = float(row.get("tp") or 1.0)
    waits = backend == "trtllm" and "70b" in _model(row) and sizes == ("1024", "1024") and devices < 8
    return 20.0 if waits else 0.0


def _chunk(row: Row, prompt: float) -> float:
    """Prompt tokens of a step."""
    backend, model = row.get("backend"), _model(row)
    clients = float(row.get("source_concurrency") or 0.0)
    if backend == "sglang":
        wide = row.get("system") != "b200_sxm" or row.get("gemm_dtype") != "nvfp4"
        return 32768.0 if wide else 16384.0
    if backend == "vllm":
        return 2.0 * prompt if _wide_graphs(row) else np.nan
    if "deepseek" in model:
        narrow = clients + prompt + 64.0
        return narrow if (row.get("measured_date") or "") < WIDER else max(narrow, 8192.0)
    return 16384.0 if "70b" in model else np.nan


def _wide_graphs(row: Row) -> bool:
    """True for points of the scripts with large graphs."""
    here = row.get("backend") == "vllm" and row.get("system") == "b200_sxm"
    return here and any(
        name in _model(row) and row.get("gemm_dtype") == kind and (row.get("measured_date") or "") >= since
        for name, kind, since in WIDE_GRAPHS
    )


def _model(row: Row) -> str:
    return (row.get("model_path") or row.get("model") or "").lower()
