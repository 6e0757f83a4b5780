"""Image networks of public model libraries, as this package builds them: name of the library -> dimensions."""

from perfmodel.workload.nets.classic import VGG, AlexNet, DenseNet, SqueezeNet
from perfmodel.workload.nets.detection import RetinaNet, Segmenter, TwoStage
from perfmodel.workload.nets.efficientnet import EfficientNet
from perfmodel.workload.nets.hybrid import ConvNeXt, LeViT
from perfmodel.workload.nets.inception import GoogLeNet, InceptionV3, InceptionV4, ShuffleNetV2
from perfmodel.workload.nets.mobile import MnasNet, MobileNetV2, MobileNetV3
from perfmodel.workload.nets.resnet import RegNet, ResNet
from perfmodel.workload.nets.ssd import Ssd
from perfmodel.workload.nets.swin import Swin
from perfmodel.workload.nets.vit import Mixer, ViT
from perfmodel.workload.nets.yolo import SCALES, Yolo

LIBRARY = {"v5": "yolov5", "v8": "yolov8", "v10": "yolov10", "11": "yolo11", "12": "yolo12"}
EFFICIENT_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}

MODELS = {
    "alexnet": AlexNet(),
    "squeezenet1_0": SqueezeNet(version="1.0"),
    "squeezenet1_1": SqueezeNet(),
    "densenet121": DenseNet(),
    "densenet161": DenseNet(layers=(6, 12, 36, 24), growth=48, stem_width=96),
    "densenet169": DenseNet(layers=(6, 12, 32, 32)),
    "densenet201": DenseNet(layers=(6, 12, 48, 32)),
    "resnext50_32x4d": ResNet(depth=50, groups=32, group_width=4),
    "resnext101_32x8d": ResNet(depth=101, groups=32, group_width=8),
    "resnext101_64x4d": ResNet(depth=101, groups=64, group_width=4),
    "wide_resnet50_2": ResNet(depth=50, group_width=128),
    "wide_resnet101_2": ResNet(depth=101, group_width=128),
    "resnet26": ResNet(depth=26),
    "seresnet50": ResNet(depth=50, squeeze=16),
    "regnet_x_400mf": RegNet(depth=22, initial_width=24, slope=24.48, multiplier=2.54, group_width=16),
    "regnet_x_3_2gf": RegNet(depth=25, initial_width=88, slope=26.31, multiplier=2.25, group_width=48),
    "regnet_y_400mf": RegNet(depth=16, initial_width=48, slope=27.89, multiplier=2.09, group_width=8, squeeze=0.25),
    "regnet_y_8gf": RegNet(depth=17, initial_width=192, slope=76.82, multiplier=2.19, group_width=56, squeeze=0.25),
    "regnet_y_16gf": RegNet(depth=18, initial_width=200, slope=106.23, multiplier=2.48, group_width=112, squeeze=0.25),
    "mobilenet_v2": MobileNetV2(),
    "mobilenet_v3_large": MobileNetV3(),
    "mobilenet_v3_small": MobileNetV3(size="small"),
    "efficientnet_v2_s": EfficientNet(variant="v2-s", height=384),
    "efficientnet_v2_m": EfficientNet(variant="v2-m", height=480),
    "efficientnet_v2_l": EfficientNet(variant="v2-l", height=480),
    "tf_efficientnet_lite0": EfficientNet(lite=True),
    "googlenet": GoogLeNet(),
    "inception_v3": InceptionV3(),
    "inception_v4": InceptionV4(),
    "shufflenet_v2_x0_5": ShuffleNetV2(hidden=(24, 48, 96, 192, 1024)),
    "shufflenet_v2_x1_0": ShuffleNetV2(),
    "shufflenet_v2_x1_5": ShuffleNetV2(hidden=(24, 176, 352, 704, 1024)),
    "shufflenet_v2_x2_0": ShuffleNetV2(hidden=(24, 244, 488, 976, 2048)),
    "vit_b_16": ViT(),
    "vit_b_32": ViT(patch=32),
    "vit_l_16": ViT(hidden=1024, depth=24, heads=16),
    "vit_l_32": ViT(patch=32, hidden=1024, depth=24, heads=16),
    "vit_h_14": ViT(patch=14, hidden=1280, depth=32, heads=16),
    "vit_tiny_patch16_224": ViT(hidden=192, heads=3),
    "vit_small_patch16_224": ViT(hidden=384, heads=6),
    "vit_base_patch16_224": ViT(),
    "vit_base_patch16_384": ViT(height=384),
    "vit_large_patch16_224": ViT(hidden=1024, depth=24, heads=16),
    "vit_huge_patch14_224": ViT(patch=14, hidden=1280, depth=32, heads=16, head="none"),  # no head in timm
    "deit_tiny_patch16_224": ViT(hidden=192, heads=3),
    "deit_small_patch16_224": ViT(hidden=384, heads=6),
    "deit_base_patch16_224": ViT(),
    "deit_tiny_distilled_patch16_224": ViT(hidden=192, heads=3, tokens=2),
    "mixer_s16_224": Mixer(hidden=512, depth=8, token_mlp=256, channel_mlp=2048),
    "mixer_b16_224": Mixer(),
    "mixer_l16_224": Mixer(hidden=1024, depth=24, token_mlp=512, channel_mlp=4096),
    "swin_v2_t": Swin(window=8, second=True, height=256),
    "swin_v2_b": Swin(hidden=128, layers=(2, 2, 18, 2), heads=4, window=8, second=True, height=256),
    "levit_128s": LeViT(hidden=(128, 256, 384), heads=(4, 6, 8), layers=(2, 3, 4), key=16),
    "levit_128": LeViT(hidden=(128, 256, 384), heads=(4, 8, 12), key=16),
    "levit_192": LeViT(hidden=(192, 288, 384), heads=(3, 5, 6), key=32),
    "levit_256": LeViT(hidden=(256, 384, 512), heads=(4, 6, 8), key=32),
    "levit_384": LeViT(hidden=(384, 512, 768), heads=(6, 9, 12), key=32),
    "convnext_tiny": ConvNeXt(),
    "convnext_small": ConvNeXt(layers=(3, 3, 27, 3)),
    "convnext_base": ConvNeXt(hidden=(128, 256, 512, 1024), layers=(3, 3, 27, 3)),
    "convnext_large": ConvNeXt(hidden=(192, 384, 768, 1536), layers=(3, 3, 27, 3)),
    "ssd300_vgg16": Ssd(),
    "ssdlite320_mobilenet_v3_large": Ssd(height=320, backbone="mobilenet_v3_lite"),
    "retinanet_resnet50_fpn": RetinaNet(),
    "retinanet_resnet50_fpn_v2": RetinaNet(group_norm=True, branch_bias=False, extra="c5"),
    "fcos_resnet50_fpn": RetinaNet(anchors=1, group_norm=True, centre=True),
    "fasterrcnn_resnet50_fpn": TwoStage(),
    "fasterrcnn_resnet50_fpn_v2": TwoStage(second=True),
    "maskrcnn_resnet50_fpn": TwoStage(mask=True),
    "deeplabv3_resnet50": Segmenter(head="deeplab"),
    "fcn_resnet50": Segmenter(),
    **{f"resnet{depth}": ResNet(depth=depth) for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": VGG(depth=depth) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": VGG(depth=depth, batch_norm=True) for depth in (11, 16, 19)},
    **{f"mnasnet{width}".replace(".", "_"): MnasNet(multiplier=width) for width in (0.5, 0.75, 1.0, 1.3)},
    **{f"efficientnet_{v}": EfficientNet(variant=v, height=size) for v, size in EFFICIENT_SIZES.items()},
    **{f"resmlp_{depth}_224": Mixer(hidden=384, depth=depth, token_mlp=0, channel_mlp=1536, affine=True)
       for depth in (12, 24, 36)},
    **{name: Swin(hidden=width, layers=layers, heads=heads)
       for names, width, layers, heads in (
           (("swin_t", "swin_tiny_patch4_window7_224"), 96, (2, 2, 6, 2), 3),
           (("swin_s", "swin_small_patch4_window7_224"), 96, (2, 2, 18, 2), 3),
           (("swin_b", "swin_base_patch4_window7_224"), 128, (2, 2, 18, 2), 4)) for name in names},
    **{LIBRARY[v] + scale: Yolo(version=v, scale=scale) for v in LIBRARY for scale in SCALES[v]},
}

#: rows of the facts that come from a workload file
SHIPPED = {"fbnetc_100": "fbnet-c", "spnasnet_100": "single-path-nas"}
