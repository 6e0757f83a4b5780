"""TPU v1 applications: Jouppi et al., ISCA 2017, arXiv:1704.04760, Tables 1 and 3 (figures recalled)."""

from __future__ import annotations

import pytest

from perfmodel.engine.dataflow.tile_stream import tile_stream_rate

#: weights [M], weight layers, MACs a weight byte, TOPS measured; matrices taken square, LSTM1 has 600 x 600 (sec. 7)
APPLICATIONS = {
    "mlp0": (20, 5, 200, 12.3), "mlp1": (5, 4, 168, 9.7), "lstm0": (52, 24, 64, 3.7),
    "lstm1": (34, None, 96, 2.8), "cnn0": (8, 16, 2888, 86.0), "cnn1": (100, 76, 1750, 14.1),
}
#: Signed error of the model today [%]: LSTM1 lacks vector work, CNN1 the sizes of its layers.
ERRORS = {"mlp0": 5, "mlp1": -10, "lstm0": 8, "lstm1": 42, "cnn0": -10, "cnn1": 423}


def error(name: str) -> float:
    weights, layers, reuse, measured = APPLICATIONS[name]
    side = 600 if layers is None else round((weights * 1e6 / layers) ** 0.5)
    return 100 * (float(tile_stream_rate(side, side, reuse, 700e6, 34e9)) / 1e12 / measured - 1)


@pytest.mark.parametrize("name", APPLICATIONS)
def test_applications(name):
    assert error(name) == pytest.approx(ERRORS[name], abs=1)


def test_limits():
    assert tile_stream_rate(256, 256, 1e5, 700e6, 34e9) == pytest.approx(2 * 65536 * 700e6)
    assert tile_stream_rate(256, 256, 64, 700e6, 34e9) == pytest.approx(2 * 64 * 34e9)
    assert tile_stream_rate(257, 256, 64, 700e6, 34e9) < tile_stream_rate(256, 256, 64, 700e6, 34e9)
