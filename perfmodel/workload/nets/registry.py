"""Families of networks that a workload file can name."""

from __future__ import annotations

from typing import Any

from perfmodel.workload.nets import (
    classic,
    detection,
    efficientnet,
    hybrid,
    inception,
    mobile,
    nas,
    network,
    resnet,
    ssd,
    swin,
    vit,
    yolo,
)

#: family name in a workload file -> dataclass with a method ``graph(step, name)``
NETS: dict[str, type[Any]] = {
    "network": network.Network,
    "alexnet": classic.AlexNet,
    "vgg": classic.VGG,
    "squeezenet": classic.SqueezeNet,
    "densenet": classic.DenseNet,
    "resnet": resnet.ResNet,
    "regnet": resnet.RegNet,
    "mobilenet_v1": mobile.MobileNetV1,
    "mobilenet_v2": mobile.MobileNetV2,
    "mobilenet_v3": mobile.MobileNetV3,
    "mnasnet": mobile.MnasNet,
    "efficientnet": efficientnet.EfficientNet,
    "googlenet": inception.GoogLeNet,
    "inception_v3": inception.InceptionV3,
    "shufflenet_v2": inception.ShuffleNetV2,
    "vit": vit.ViT,
    "mixer": vit.Mixer,
    "swin": swin.Swin,
    "levit": hybrid.LeViT,
    "convnext": hybrid.ConvNeXt,
    "ofa_mobilenet": nas.OfaMobileNet,
    "ofa_resnet": nas.OfaResNet,
    "nas_bench_201": nas.NasBench201,
    "fbnet": nas.FBNet,
    "yolo": yolo.Yolo,
    "ssd": ssd.Ssd,
    "retinanet": detection.RetinaNet,
    "two_stage": detection.TwoStage,
    "segmenter": detection.Segmenter,
}
