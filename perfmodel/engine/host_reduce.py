"""All-reduce on the host: gradients go to CPU memory, are added there and exchanged by the network cards.

Reference
[1] An et al., Fire-Flyer AI-HPC, SC 2024, arXiv:2408.14158, sections IV-B and IV-D.
"""

from __future__ import annotations

from perfmodel.algebra import Value, minimum

#: Passes over host memory per byte of a device's gradient with eight devices [1]: copies from the devices,
#: reads and a write of the reduction, network send and receive, copies back.
HOST_PASSES = 8.0 + 9.0 + 5.0 + 2.0


def host_reduce_bandwidth(memory: Value, passes: Value = HOST_PASSES) -> Value:
    """All-reduce rate that host memory allows [B/s] [1]: ``memory bandwidth/passes``."""
    return memory / passes


def root_port_bandwidth(port: Value, devices: Value, directions: Value = 2.0) -> Value:
    """All-reduce rate of devices behind one root port that shares its rate both ways [B/s] [1]."""
    return port / (devices * directions)


def host_reduce(memory: Value, port: Value, devices: Value, bridge: Value = 1.0) -> Value:
    """All-reduce rate of a node [B/s] [1]: the lesser of host memory and root port.

    bridge  devices that add up over a direct link before one of them talks to the host
    """
    return minimum(host_reduce_bandwidth(memory) * bridge, root_port_bandwidth(port, devices / bridge))


def host_ring_bandwidth(link: Value, members: Value) -> Value:
    """Ring all-reduce whose every transfer passes the host bridge [B/s] [1]: ``link/((2n - 1)/n)``."""
    return link * members / (2.0 * members - 1.0)
