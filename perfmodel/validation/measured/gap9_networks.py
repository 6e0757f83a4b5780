"""Amounts of the networks that were timed on GAP9, from their layers.

Sizes: github.com/pulp-bio/BioFoundation (1923999), ARES/tests/test_networks.  Its own "MACs" count two per
multiply-accumulate and leave out attention, 1 x 1 convolutions of one network, and scans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: kinds of work: convolutions, products over many tokens and over one, attention [MAC], results and elements
KINDS = ("convolution", "product", "vector product", "attention", "elements")
Amounts = Mapping[str, float]
#: a convolution: input channels (per group), filters, output pixels, taps
Conv = tuple[int, int, int, int]


def _net(
    convolutions: Sequence[Conv] = (), *, product: float = 0.0, vector: float = 0.0, attention: float = 0.0,
    elements: float = 0.0,
) -> Amounts:
    macs = sum(c * f * pixels * taps for c, f, pixels, taps in convolutions)
    results = sum(f * pixels for _, f, pixels, _ in convolutions)
    return dict(zip(KINDS, (macs, product, vector, attention, elements + results), strict=True))


def _encoder(tokens: int, width: int, inner: int, layers: int, patch: int) -> Amounts:
    """Patches, layers of attention and two products with norms and sums, norm and mean over tokens."""
    weights = 4 * width**2 + 2 * width * inner
    return _net(
        product=tokens * (width * patch + layers * weights), attention=layers * 2 * tokens**2 * width,
        elements=layers * tokens * (4 * width + inner) + 2 * tokens * width,
    )


def _mamba(blocks: int) -> Amounts:
    """Width 32, inner 64, 4 states, 16 tokens; the head is a product of one token."""
    product = 16 * (32 * 128 + 64 * 10 + 2 * 64 + 64 * 32)
    elements = 16 * 64 * 4 * blocks
    return _net([(1, 64, 16, 4)] * blocks, product=product * blocks, vector=320, elements=elements)


def _resnet18() -> Amounts:
    """Four stages of two blocks on one channel of 28 x 28."""
    layers: list[Conv] = [(1, 16, 784, 9)]
    width, side, added = 16, 28, 0
    for out in (16, 32, 64, 128):
        for block in range(2):
            shrinks = block == 0 and out > 16
            side = (side + 1) // 2 if shrinks else side
            layers += [(width, out, side**2, 9), (out, out, side**2, 9)]
            layers += [(width, out, side**2, 1)] if shrinks else []
            width, added = out, added + out * side**2
    return _net(layers, vector=1280, elements=added + 128 * 16)


NETWORKS: Mapping[str, Amounts] = {
    "test_1_simplecnn": _net([(1, 16, 784, 9), (16, 32, 196, 9)], vector=15680, elements=12544 + 6272),
    "test_2_tinycnn": _net([(1, 8, 784, 25)], vector=15680, elements=6272),
    "test_3_mlp": _net(vector=784 * 256 + 256 * 128 + 1280),
    "test_4_resnet_basic": _net([(1, 16, 784, 9), (16, 16, 784, 9)], vector=160, elements=2 * 12544),
    "test_5_densenet_basic": _net(
        [(1, 8, 784, 9), (8, 8, 784, 9), (16, 16, 196, 9)], vector=7840, elements=2 * 12544 + 3136),
    "test_6_multitilecnn": _net(
        [(1, 8, 9216, 9), (8, 16, 2304, 9), (16, 24, 576, 9)], vector=8640,
        elements=9216 + 73728 + 36864 + 13824 + 3456),
    "test_7_bottleneck": _net(
        [(1, 32, 784, 9), (32, 64, 196, 1), (64, 32, 196, 1)], vector=320, elements=25088 + 6272 + 1568),
    "test_8_stride2": _net(
        [(1, 16, 784, 9), (16, 32, 196, 9), (32, 32, 196, 9), (32, 16, 49, 9)], vector=160, elements=784),
    "test_9_padding": _net(
        [(1, 16, 676, 9), (16, 32, 676, 9), (32, 32, 676, 25), (32, 16, 121, 9)], vector=160,
        elements=21632 + 1936),
    "test_10_resnet18": _resnet18(),
    "test_11_layernorm_basic": _net(vector=7840, elements=784),
    "test_12_gelu_basic": _net(vector=784 * 64 + 640, elements=64),
    "test_13_transformer_simple": _encoder(196, 64, 128, 1, 4),
    "test_14_multiblock_transformer": _encoder(196, 128, 256, 4, 4),
    "test_15_tinymyo_tiny": _encoder(50, 192, 768, 1, 20),
    "test_16_mamba_conv1d": _net([(1, 32, 64, 4)], vector=320, elements=4096),
    "test_17_mamba_ssm": _net(product=16 * 32 * 10, vector=320, elements=1024),
    "test_18_mamba_block": _mamba(1),
    "test_19_mamba_stacked": _mamba(3),
    "test_20_bidirectional_mamba": _mamba(2),
    "test_27_linear3d_bench": _net(product=2 * 400 * 192 * 768, vector=1344, elements=400 * (768 + 192)),
    "test_28_conv2d_remainder": _net([(1, 3, 784, 1), (3, 32, 196, 49)], vector=320, elements=6272),
    "test_30_autotune_stress": _net(vector=64 * 768 + 768 * 768 + 768 * 237 + 237 * 513 + 513 * 128 + 640),
    "test_37_zeropad2d": _net([(1, 4, 512, 4), (4, 8, 64, 8)], vector=1280, elements=2048 + 512 + 1000),
}
