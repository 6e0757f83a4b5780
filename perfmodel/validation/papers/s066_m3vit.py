"""S066: Fan et al., M3ViT: Mixture-of-Experts Vision Transformer for Multi-task Learning, arXiv:2210.14793.

Networks and image size of the NYUD configurations of the authors' repository.
"""

from __future__ import annotations

import perfmodel as pm
from perfmodel.validation.cases import predicts

HEIGHT, WIDTH, TASKS = 480.0, 640.0, 4.0
#: patches are 16 x 16 and 384 wide; the head doubles the map after each of its first convolutions
PATCH, EMBEDDED, HEAD, CLASSES = 16.0, 384.0, 256.0, 40.0


def _vary(name: str) -> pm.Workload:
    return pm.workload(name).vary({"height": HEIGHT, "width": WIDTH})


def _head() -> float:
    """FLOP of the upsampling head: four 3 x 3 convolutions and one 1 x 1."""
    flops, channels, rows, columns = 0.0, EMBEDDED, HEIGHT / PATCH, WIDTH / PATCH
    for level in range(4):
        scale = 2.0**level
        conv = pm.op.conv2d(1, channels, HEAD, rows * scale, columns * scale, 3)
        flops, channels = flops + float(conv.flops), HEAD
    return flops + float(pm.op.conv2d(1, HEAD, CLASSES, rows * 8.0, columns * 8.0, 1).flops)


@predicts("S066-HEAD-01", fidelity="count")
def saved() -> float:
    """FLOP saved for one task [%] over cross-stitch networks, whose encoders of all tasks have to run."""
    one = float(_vary("m3vit-small").flops(batch=1.0)) + _head()
    return 100.0 * (1.0 - one / (TASKS * float(_vary("deeplab-v3-r50").flops(batch=1.0))))
