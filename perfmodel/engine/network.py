"""Networks of switches: how many switches and cables reach how many endpoints, and what that costs.

Counts are exact for full networks of switches with `radix` ports; every function takes floats, arrays or
symbols unless it says otherwise.

References
----------
[1] Al-Fares et al., SIGCOMM 2008, doi:10.1145/1402958.1402967 (fat tree).
[2] Besta and Hoefler, "Slim Fly", SC 2014, arXiv:1912.08968.
[3] Kim et al., "Dragonfly", ISCA 2008, doi:10.1109/ISCA.2008.19.
[4] Zhao et al., ISCA 2025, arXiv:2505.09343, Table 3 (counts and cost of five networks).
[5] An et al., "Fire-Flyer AI-HPC", SC 2024, arXiv:2408.14158, Table III (two zones of two-layer trees).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfmodel.algebra import Value, ceil, ceil_div, floor


@dataclass(frozen=True)
class Network:
    """Size of a network.

    endpoints: hosts or network cards; switches; links: cables between switches;
    path: most switches on a shortest path.
    """

    endpoints: Value
    switches: Value
    links: Value
    path: Value

    def times(self, planes: Value) -> Network:
        """`planes` separate copies; each endpoint is a port of one plane."""
        return Network(self.endpoints * planes, self.switches * planes, self.links * planes, self.path)


def two_layer_fat_tree(radix: Value) -> Network:
    """Leaf and spine with full bisection [1, 4]: ``k^2/2`` endpoints, ``3k/2`` switches, ``k^2/2`` links."""
    return Network(radix**2 / 2, 3 * radix / 2, radix**2 / 2, 3.0)


def three_layer_fat_tree(radix: Value) -> Network:
    """Three layers with full bisection [1, 4]: ``k^3/4`` endpoints, ``5k^2/4`` switches, ``k^3/2`` links."""
    return Network(radix**3 / 4, 5 * radix**2 / 4, radix**3 / 2, 5.0)


def multi_plane_fat_tree(radix: Value, planes: Value) -> Network:
    """`planes` independent two-layer fat trees [4]."""
    return two_layer_fat_tree(radix).times(planes)


def partial_two_layer(endpoints: Value, radix: Value) -> Network:
    """Two-layer tree for `endpoints`: ``ceil(E/(k/2))`` leaves and half as many spines [5]."""
    leaves = ceil_div(endpoints, radix / 2)
    return Network(endpoints, leaves + ceil(leaves / 2), endpoints, 3.0)


def partial_three_layer(endpoints: Value, radix: Value) -> Network:
    """Three-layer tree partly filled with `endpoints`: ``5E/k`` switches, ``2E`` links [5]."""
    return Network(endpoints, 5 * endpoints / radix, 2 * endpoints, 5.0)


def zones(zone: Network, count: Value, joining_switches: Value = 0.0, joining_links: Value = 0.0) -> Network:
    """`count` equal networks joined by a few switches, as the two zones of Fire-Flyer 2 [5]."""
    whole = zone.times(count)
    return Network(
        whole.endpoints, whole.switches + joining_switches, whole.links + joining_links, whole.path + 2
    )


def slim_fly(q: Value, delta: Value = 0.0) -> Network:
    """Slim Fly of order ``q = 4w + delta``, delta in -1, 0, 1 [2].

    ``2 q^2`` switches of network radix ``k' = (3q - delta)/2``, ``p = ceil(k'/2)`` endpoints each,
    ``q^2 k'`` links.  A graph exists only for prime powers q; the counts are defined for every q.
    """
    network_radix = (3 * q - delta) / 2
    switches = 2 * q**2
    return Network(switches * ceil(network_radix / 2), switches, q**2 * network_radix, 3.0)


def largest_slim_fly(radix: float) -> Network:
    """Largest Slim Fly of switches with `radix` ports (one number) [2, 4].

    The greatest q with ``k' + ceil(k'/2) <= radix``.
    """
    q = np.arange(3.0, float(radix) + 1)
    delta = (q + 1) % 4 - 1
    network_radix = (3 * q - delta) / 2
    fits = (delta <= 1) & (network_radix + np.ceil(network_radix / 2) <= radix)
    best = int(np.flatnonzero(fits)[-1])
    return slim_fly(q[best], delta[best])


def dragonfly(routers: Value, hosts: Value, global_links: Value, groups: Value) -> Network:
    """Dragonfly of `groups` groups of `routers` routers with `hosts` hosts and `global_links` each [3].

    ``a p g`` endpoints, ``a g`` switches, ``g a (a-1)/2 + g a h/2`` links.
    """
    inside = groups * routers * (routers - 1) / 2
    between = groups * routers * global_links / 2
    return Network(routers * hosts * groups, routers * groups, inside + between, 4.0)


def balanced_dragonfly(radix: Value, spare_groups: Value = 0.0) -> Network:
    """Balanced Dragonfly (a = 2p = 2h) with the most groups that `radix` ports allow [3].

    ``p = floor((k+1)/4)``, ``g = a h + 1 - spare_groups``; [4] leaves two groups away.
    """
    hosts = floor((radix + 1) / 4)
    return dragonfly(2 * hosts, hosts, hosts, 2 * hosts * hosts + 1 - spare_groups)


def network_price(network: Network, switch_price: Value, link_price: Value, nic_price: Value = 0.0) -> Value:
    """Price of switches, cables between them and, if given, network cards of the endpoints [USD]."""
    return network.switches * switch_price + network.links * link_price + network.endpoints * nic_price


def network_power(
    network: Network, switch_power: Value, transceiver_power: Value = 0.0, nic_power: Value = 0.0
) -> Value:
    """Power of the network [W]: switches, two transceivers for each link, network cards."""
    optics = 2 * network.links * transceiver_power
    return network.switches * switch_power + optics + network.endpoints * nic_power


def path_latency(
    network: Network, switch_latency: Value, end_latency: Value, cable_latency: Value = 0.0
) -> Value:
    """Time of the longest shortest path [s]: two ends, its switches and its cables."""
    return end_latency + network.path * switch_latency + (network.path + 1) * cable_latency
