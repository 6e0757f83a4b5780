"""Networks: counts and prices of published networks, and properties of the formulas."""

from __future__ import annotations

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.engine import network as net
from perfmodel.hardware.technology import technology

# Zhao et al., ISCA 2025, arXiv:2505.09343, Table 3: endpoints, switches, links, cost [USD], tolerance.
TABLE = {
    "fat tree, 2 layers": (net.two_layer_fat_tree(64), 2048, 96, 2048, 9e6, 0.006),
    "fat tree, 8 planes": (net.multi_plane_fat_tree(64, 8), 16384, 768, 16384, 72e6, 0.006),
    "fat tree, 3 layers": (net.three_layer_fat_tree(64), 65536, 5120, 131072, 491e6, 0.006),
    "slim fly": (net.largest_slim_fly(64), 32928, 1568, 32928, 146e6, 0.006),
    "dragonfly": (net.balanced_dragonfly(64, spare_groups=2), 261632, 16352, 384272, 1522e6, 0.02),
}


@pytest.mark.parametrize("name", TABLE)
def test_counts_and_cost_of_published_networks(name: str) -> None:
    network, endpoints, switches, links, cost, tolerance = TABLE[name]
    assert (network.endpoints, network.switches, network.links) == (endpoints, switches, links)
    prices = technology().fabrics["infiniband-ndr"]
    assert net.network_price(network, prices.switch, prices.link) == pytest.approx(cost, rel=tolerance)


def test_partly_filled_trees() -> None:
    """An et al., SC 2024, arXiv:2408.14158, Table III: 122 and 1320 switches of 40 ports."""
    zone = net.partial_two_layer(800, 40)
    assert zone.switches == 800 / 20 + 800 / 40  # 40 leaves + 20 spines
    assert net.zones(zone, 2, joining_switches=2).switches == 122
    assert net.partial_three_layer(10560, 40).switches == 1320


def test_a_full_tree_is_a_partial_tree() -> None:
    for radix in (8, 16, 64):
        full, part = net.two_layer_fat_tree(radix), net.partial_two_layer(radix**2 / 2, radix)
        assert (part.switches, part.links) == (full.switches, full.links)
        three = net.three_layer_fat_tree(radix)
        assert net.partial_three_layer(three.endpoints, radix).switches == three.switches


def test_hand_count_of_a_tiny_dragonfly() -> None:
    tiny = net.dragonfly(routers=2, hosts=1, global_links=1, groups=3)
    assert tiny.endpoints == 6  # 3 groups * 2 routers * 1 host
    assert tiny.switches == 6
    assert tiny.links == 3 * 1 + 3  # one link inside each group, 3 pairs of groups


def test_ports_of_a_slim_fly() -> None:
    """The switches use no more ports than they have: 2 links + endpoints over the number of switches."""
    for radix in (16, 24, 36, 48, 64):
        fly = net.largest_slim_fly(radix)
        assert (2 * fly.links + fly.endpoints) / fly.switches <= radix


def test_arrays_answer_many_radices_at_once() -> None:
    radix = np.array([16.0, 32.0, 64.0])
    many = net.three_layer_fat_tree(radix)
    assert many.endpoints.tolist() == [net.three_layer_fat_tree(r).endpoints for r in radix]
    price = net.network_price(many, 83e3, 504.0)
    assert np.all(np.diff(price) > 0)


def test_symbols_give_the_closed_form() -> None:
    sympy = pytest.importorskip("sympy")
    k = sympy.Symbol("k", positive=True)
    assert sympy.simplify(net.three_layer_fat_tree(k).switches - 5 * k**2 / 4) == 0


def test_power_and_latency() -> None:
    tree = net.two_layer_fat_tree(64)
    assert net.network_power(tree, 747.0, 10.0) == 96 * 747 + 2 * 2048 * 10
    assert net.path_latency(tree, 150e-9, 1e-6) == pytest.approx(1e-6 + 3 * 150e-9)


def test_collectives_beyond_a_node_use_its_network():
    """Two nodes of eight H100: NVLink at 450 GB/s inside, 50 GB/s a device between them."""
    two, latency = pm.system("dgx-h100", count=16), 6 * 0.784e-6 + 2 * 1.5e-6  # 2 log2(8) and 2 log2(2) steps
    reduced = pm.collective("all_reduce", 1e8, two)
    inside, between = 2 * 7 / 8 * 1e8 / 450e9, 2 * 1 / 2 * 1e8 / 8 / 50e9
    assert reduced.latency == pytest.approx(max(inside, between) + latency)
    assert reduced.bytes == pytest.approx(2 * 7 / 8 * 1e8 + 2 * 1 / 2 * 1e8 / 8)
    spread = pm.collective("all_to_all", 1e8, two)
    assert spread.bytes == pytest.approx(15 / 16 * 1e8)
    assert spread.latency == pytest.approx(8 / 16 * 1e8 / 50e9, rel=0.01)  # half of it goes to the other node


def test_collectives_of_one_node_are_as_before_and_never_faster_on_more():
    for pattern in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all"):
        for fidelity in ("roofline", "dataflow", "calibrated"):
            times = [pm.collective(pattern, 1e7, pm.system("dgx-h100", count=n), fidelity=fidelity).latency
                     for n in (2, 4, 8, 16, 32, 64)]
            assert times == sorted(times)
    one = pm.collective("all_reduce", 1e8, pm.system("dgx-h100"), link="nvlink")
    assert one.latency == pm.collective("all_reduce", 1e8, pm.system("dgx-h100")).latency


def test_a_message_takes_the_first_link_that_joins_two_stages():
    near, far = (pm.collective("point_to_point", 1e8, pm.system("dgx-h100", count=n)).latency for n in (2, 16))
    assert near == far == pytest.approx(1e8 / 450e9 + 0.784e-6)  # of 16 neighbours the nearest
    model, two = "llama-3.1-8b", pm.system("dgx-h100", count=16)
    inside, across = (
        pm.inference(model, two, batch=8, input=512, output=8, tp=tp, pp=2).breakdown().rows for tp in (4, 8)
    )
    bound = [next(row for row in rows if "stage_to_stage" in str(row[1]))[5] for rows in (inside, across)]
    assert bound == ["links.nvlink", "links.infiniband"]
