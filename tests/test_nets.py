"""Networks that are not language models: published counts, arrays, fusion, loops."""

import json
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.formats import precision
from perfmodel.workload.families import NETS
from perfmodel.workload.nets.inception import INCEPTION_V2
from perfmodel.workload.nets.nas import (
    CELL_EDGES,
    NasBench201,
    OfaMobileNet,
    OfaProxyless,
    OfaResNet,
    sampled,
)
from perfmodel.workload.nets.resnet import ResNet
from perfmodel.workload.workload import Workload, workloads

FACTS = Path(__file__).parent / "facts"
SHIPPED = [name for name in workloads() if pm.workload(name).family in NETS]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_network(name):
    model = pm.workload(name)
    graph = model.graph(batch=1)
    graph.edges()
    assert (model.published_flops or 0) == pytest.approx(float(graph.flops), abs=0.5)
    assert model.graph(batch=4).flops == pytest.approx(4 * graph.flops, rel=1e-9)


def test_enough_of_them():
    assert len(SHIPPED) >= 100
    assert {pm.workload(name).family for name in SHIPPED} == set(NETS)


PUBLISHED_PARAMETERS = {
    "nas-bench-201": (1.531546e6, 1e-6),  # arXiv:2001.00326
    "sd-1.5-unet": (859520964, 0),  # published checkpoint
    "sd-2.1-unet": (865910724, 0),
    "sdxl-unet": (2567463684, 0),
    "abpn-x3": (42.54e3, 1e-3),  # arXiv:2105.09750, table 3
    "tinymyo": (3.6e6, 0.02),  # paper
    "yolov6n": (4.3e6, 0.01), "yolov6t": (15.0e6, 0.01), "yolov6s": (17.2e6, 0.01),  # release 0.2
    "yolov6m": (34.3e6, 0.01), "yolov6l": (58.5e6, 0.01),
    "yolov6n6": (10.4e6, 0.01), "yolov6s6": (41.4e6, 0.01), "yolov6m6": (79.6e6, 0.01),  # release 0.4
    "yolov6l6": (140.4e6, 0.01),
    "darts-v2": (3.349342e6, 0), "darts-v2-imagenet": (4.719e6, 1.1e-4),  # published code, no auxiliary head
    "yolov6lite-s": (0.55e6, 0.015), "yolov6lite-m": (0.79e6, 0.01), "yolov6lite-l": (1.09e6, 0.01),
    # published code, which cuts the second digit off
    "mobilenet-edgetpu": (4.0e6, 0.031), "mobilenet-edgetpu-0.75": (2.9e6, 0.031),
    "gr00t-n1": (2.2e9, 0.01),  # arXiv:2503.14734
    "levit-128s": (7.8e6, 0.01), "levit-384": (39.1e6, 0.01),  # arXiv:2104.01136, table 2
    "dit-xl-2": (675e6, 1e-3), "dit-l-2": (458e6, 1e-3), "dit-b-2": (130e6, 3e-3), "dit-s-2": (33e6, 5e-3),
    "ssd-mobilenet-v1": (6.8e6, 0.01),  # arXiv:1801.04381, table 6 gives 5.1 M for the lite form
}


@pytest.mark.parametrize("name", PUBLISHED_PARAMETERS)
def test_published_parameters(name):
    value, tolerance = PUBLISHED_PARAMETERS[name]
    assert pm.workload(name).parameters == pytest.approx(value, rel=tolerance)


#: multiply-accumulates; a tolerance above rounding is the pooling and activations that the source counts too,
#: which weigh most in the lite networks
PUBLISHED_MACS = {
    "nas-bench-201": (220.11968e6, 1e-9),
    "iegm-net": (192684, 0),  # model_1.py of the contest
    "humanoid-policy": (71168, 0),  # arXiv:2504.17249
    "levit-128s": (305e6, 2e-3), "levit-128": (406e6, 2e-3), "levit-192": (658e6, 2e-3),
    "levit-256": (1120e6, 8e-3), "levit-384": (2353e6, 2e-3),
    "dit-xl-2": (118.64e9, 1e-3), "dit-l-2": (80.71e9, 1e-3), "dit-b-2": (23.01e9, 1e-3), "dit-s-2": (6.06e9,
                                                                                                      1e-3),
    "yolov8n": (8.7e9 / 2, 0.01), "yolov8s": (28.6e9 / 2, 0.01), "yolov8m": (78.9e9 / 2, 0.01),
    "yolov8l": (165.2e9 / 2, 0.01), "yolov8x": (257.8e9 / 2, 0.01),
    "yolov6n": (11.1e9 / 2, 0.012), "yolov6t": (36.7e9 / 2, 0.012), "yolov6s": (44.2e9 / 2, 0.012),
    "yolov6m": (82.2e9 / 2, 0.012), "yolov6l": (144.0e9 / 2, 0.012),
    "yolov6n6": (49.8e9 / 2, 0.012), "yolov6s6": (198.0e9 / 2, 0.012), "yolov6m6": (379.5e9 / 2, 0.012),
    "yolov6l6": (673.4e9 / 2, 0.012),
    "yolov5s": (16.5e9 / 2, 0.01),
    "yolov6lite-s": (0.56e9 / 2, 0.04), "yolov6lite-m": (0.67e9 / 2, 0.04), "yolov6lite-l": (0.87e9 / 2,
                                                                                             0.04),
    "mobilenet-edgetpu": (990e6, 2e-3), "mobilenet-edgetpu-0.75": (624e6, 0.01),  # published code
    "mobilenet-v1": (569e6, 2e-3), "mobilenet-v2": (300e6, 5e-3),
}


@pytest.mark.parametrize("name", PUBLISHED_MACS)
def test_published_operations(name):
    value, tolerance = PUBLISHED_MACS[name]
    assert pm.workload(name).flops() / 2 == pytest.approx(value, rel=tolerance)


def test_motion_module_of_animatediff():
    """417 M parameters beside the image network (mm_sd_v14, a 1.67 GB file of fp32 weights)."""
    added = pm.workload("animatediff").parameters - pm.workload("sd-1.5-unet").parameters
    assert added == pytest.approx(417e6, rel=2e-3)


def subnetworks():
    return json.loads((FACTS / "ofa.json").read_text(encoding="utf-8"))


def dims(row):
    common = {"height": row["resolution"], "expansions": tuple(row["expansions"])}
    if row["space"] == "ofa_proxyless":
        return OfaProxyless(multiplier=row["multiplier"], kernels=tuple(row["kernels"]),
                            depths=tuple(row["depths"][:5]), **common)
    if row["space"] == "ofa_mobilenet":
        return OfaMobileNet(multiplier=row["multiplier"], kernels=tuple(row["kernels"]),
                            depths=tuple(row["depths"]), **common)
    widths = tuple((0.65, 0.8, 1.0)[index] for index in row["widths"])
    return OfaResNet(stem=row["depths"][0], depths=tuple(row["depths"][1:]), widths=widths, **common)


@pytest.mark.parametrize("row", subnetworks(), ids=lambda row: f"{row['space']}-{row['parameters']}")
def test_once_for_all(row):
    model = Workload("ofa", "ofa", dims(row))
    model.graph().edges()
    assert model.parameters == row["parameters"]
    assert model.flops() == row["flops"]


def test_sample_of_a_space_is_one_evaluation():
    rows = [row for row in subnetworks() if row["space"] == "ofa_mobilenet" and row["multiplier"] == 1.0]
    base = Workload("ofa", "ofa_mobilenet", OfaMobileNet())
    many = sampled(base, kernels=[r["kernels"] for r in rows], expansions=[r["expansions"] for r in rows],
                   depths=[r["depths"] for r in rows], height=[r["resolution"] for r in rows])
    result = pm.forward(many, "h100-sxm5")
    assert result.latency.axes == ("net",)
    assert np.asarray(result.flops) == pytest.approx([r["flops"] for r in rows], rel=1e-12)
    for index, row in enumerate(rows):
        alone = pm.forward(Workload("ofa", "ofa", dims(row)), "h100-sxm5")
        assert float(result.latency[index]) == pytest.approx(float(alone.latency), rel=1e-9)


def test_cells_as_arrays_and_one_by_one():
    generator = np.random.default_rng(0)
    edges = generator.integers(0, 5, size=(40, len(CELL_EDGES)))
    base = Workload("cells", "nas_bench_201", NasBench201())
    flops = np.asarray(pm.forward(sampled(base, edges=edges), "h100-sxm5").flops)
    alone = [float(Workload("c", "c", NasBench201(edges=tuple(map(float, e)))).flops()) for e in edges]
    assert flops == pytest.approx(alone, rel=1e-12)


def test_wrong_sample_is_refused():
    base = Workload("cells", "nas_bench_201", NasBench201())
    with pytest.raises(pm.PerfmodelError, match="edges"):
        sampled(base, edges=np.zeros((4, 5)))


@pytest.mark.parametrize("name",
                         ["resnet-50", "mobilenet-v3-large", "vit-b-16", "yolov8n", "sd-1.5-unet",
                          "dit-xl-2"])
def test_sizes_may_be_arrays(name):
    model = pm.workload(name)
    sizes = np.array([1.0, 1.5, 2.0]) * model.dims.height
    together = model.vary({"height": sizes}).flops()
    alone = [float(model.vary({"height": float(size)}).flops()) for size in sizes]
    assert together == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("name", ["resnet-50", "mobilenet-v2", "densenet-121", "yolov8n", "levit-256"])
def test_fusion_saves_kernels_and_bytes(name):
    model = pm.workload(name)
    loose, usual, residual = (model.vary({"fusion": f}).graph(batch=2) for f in ("none", "activation",
                              "residual"))
    assert loose.flops == usual.flops == residual.flops
    assert loose.elements("weight") == usual.elements("weight") == residual.elements("weight")

    def launches(graph):
        return sum(op.launches * op.count for op in graph)

    def moved(graph):
        return sum(op.count * op.elements() for op in graph)

    assert launches(loose) > launches(usual) >= launches(residual)
    assert moved(loose) > moved(usual) >= moved(residual)
    assert loose.operations("special") == usual.operations("special") == residual.operations("special")


def test_one_kernel_per_convolution():
    """Stem, pooling, 16 blocks of 3 convolutions and an addition, 4 shortcuts, mean, head."""
    graph = Workload("r", "resnet", ResNet(depth=50)).graph(batch=1)
    assert sum(op.launches * op.count for op in graph) == 1 + 1 + 16 * (3 + 1) + 4 + 1 + 1


def test_loop_stores_its_weights_once():
    one, loop = pm.workload("sd-1.5-unet"), pm.workload("sd-1.5")
    assert loop.parameters == one.parameters
    assert loop.flops() == pytest.approx(50 * 2 * one.flops(), rel=1e-12)
    longer = pm.workload("lstm-2x1024").vary({"length": 70})
    assert longer.parameters == pm.workload("lstm-2x1024").parameters
    assert longer.flops() == 2 * pm.workload("lstm-2x1024").flops()


def test_chunks_divide_live_activations_not_work():
    whole = pm.workload("animatediff")
    parts = whole.vary({"chunks": 8})
    assert parts.parameters == whole.parameters
    # attention over the frames sees the frames of a chunk only
    assert parts.flops() == pytest.approx(whole.flops(), rel=5e-3)
    fp16 = precision("fp16")
    assert parts.graph(batch=1).peak_activation(fp16) < 0.2 * whole.graph(batch=1).peak_activation(fp16)


def test_recurrent_parameters_by_hand():
    """torch.nn.LSTM(512, 1024, 3): 4 h (i + h) weights and 8 h biases per layer."""
    family = NETS["recurrent"]
    model = Workload("l", "recurrent", family(inputs=512, hidden=1024, layers=3, length=20))
    first, other = 4 * 1024 * (512 + 1024) + 8 * 1024, 4 * 1024 * (1024 + 1024) + 8 * 1024
    assert model.parameters == first + 2 * other
    macs = 20 * 4 * 1024 * ((512 + 1024) + 2 * (1024 + 1024))
    assert model.flops(batch=3) == 2 * 3 * macs


def test_two_stage_cost_is_linear_in_proposals():
    model = pm.workload("faster-rcnn-r50-c4").vary({"proposals": [20, 300, 580]})
    low, middle, high = model.flops()
    assert high - middle == pytest.approx(middle - low)
    assert low < 0.4 * middle


def test_composite_is_the_sum_of_its_stages():
    whole = pm.workload("gr00t-n1")
    vision, language, action = (pm.workload(n) for n in ("siglip-so400m", "gr00t-n1-language",
                                "gr00t-n1-action"))
    assert whole.parameters == vision.parameters + language.parameters + action.parameters
    expected = vision.flops() + language.flops(query=80, logits="last") + action.flops()
    assert whole.flops() == pytest.approx(expected, rel=1e-12)
    edges = whole.graph(batch=1).edges()
    assert any(a.startswith("vision") and b.startswith("language") for a, b in edges)


def test_repeated_stage_keeps_one_set_of_weights():
    whole = pm.workload("gr00t-n1")
    again = whole.vary({"stages.1.repeat": 5})
    assert again.parameters == pytest.approx(whole.parameters, rel=1e-12)
    assert again.flops() > whole.flops()


def test_experts_of_a_vision_transformer():
    """Weights of all experts are stored, 4 of 16 run per token: the sparse layers save three quarters."""
    model = pm.workload("m3vit-small")
    d, w, tokens = 384, 384, 197
    layer = 2 * tokens * (4 * d * d + 2 * tokens * d)
    dense = layer + 2 * tokens * 2 * d * 4 * d
    sparse = layer + 2 * tokens * (16 * d + 4 * 2 * d * w)
    ends = 2 * 196 * 768 * d + 2 * d * 1000
    assert model.flops() == pytest.approx(6 * (dense + sparse) + ends, rel=1e-12)
    more = model.vary({"experts": 32}).parameters - model.parameters
    assert more == 6 * 16 * (2 * d * w + 2 * d)  # two products, and a gate for each of two tasks


def test_inception_v2_is_the_published_code():
    """Its test counts 10,173,112 variables without the head: three per normed channel, where we store two."""
    channels = sum(one + reduce3 + three + reduce33 + 2 * double + project
                   for one, reduce3, three, reduce33, double, project in INCEPTION_V2.values()) + 64 + 192
    head = 1024 * 1000 + 1000
    assert pm.workload("inception-v2").parameters - head + channels == 10_173_112


@pytest.mark.parametrize("edges", [("sep_conv_3x3 0",) * 7, ("sep_conv_4x4 0",) * 8, ("sep_conv_3x3 5",) * 8])
def test_wrong_cell_is_refused(edges):
    with pytest.raises(pm.PerfmodelError, match="normal"):
        NETS["darts"](normal=edges)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("alexnet", {"height": 16}, "no rows left"),
        ("inception-v3", {"height": [64, 299]}, "no rows left"),
        ("vit-b-16", {"heads": 7}, "heads"),
        ("dit-xl-2", {"heads": [16, 17]}, "heads"),
        ("resnet-50", {"depth": 51}, "18, 34, 26, 50"),
        ("yolov8n", {"scale": "b"}, "n, s, m, l, x"),
        ("efficientnet-b0", {"variant": "b9"}, "b0"),
        ("resnet-50", {"hight": 224}, "did you mean 'height'"),
        ("resnet-50", {"height": 0}, "height"),
    ],
)
def test_impossible_sizes_are_refused(name, changes, words):
    with pytest.raises(pm.PerfmodelError) as caught:
        pm.workload(name).vary(changes).graph(batch=1)
    assert words in str(caught.value)


def test_elastic_heads_keep_their_width():
    """Super-networks drop heads of a fixed width: the projections shrink with them."""
    model = pm.workload("vit-b-16").vary({"heads": [6, 12], "head_dim": 64})
    d, tokens = 768, 197
    saved = 12 * 2 * tokens * (4 * d * 6 * 64 + 2 * tokens * 6 * 64)
    few, all_heads = model.flops()
    assert all_heads == pm.workload("vit-b-16").flops()
    assert all_heads - few == saved


def test_eager_attention_of_a_network_moves_its_scores():
    """12 layers of 12 heads over 197 tokens: the scores are written, read, written and read."""
    net = pm.workload("vit-b-16")
    fused, eager = net.graph(batch=2), net.graph(batch=2, attention="eager")
    square = 12 * 2 * 12 * 197 * 197
    assert eager.flops == fused.flops
    assert eager.elements("weight") == fused.elements("weight")
    assert eager.elements("activation") - fused.elements("activation") == pytest.approx(4 * square, rel=1e-3)
