"""Families of networks that a workload file can name; a family is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

#: family name in a workload file -> module and class
_PLACES = {
    "network": "network.Network",
    "alexnet": "classic.AlexNet",
    "vgg": "classic.VGG",
    "squeezenet": "classic.SqueezeNet",
    "densenet": "classic.DenseNet",
    "resnet": "resnet.ResNet",
    "regnet": "resnet.RegNet",
    "mobilenet_v1": "mobile.MobileNetV1",
    "mobilenet_v2": "mobile.MobileNetV2",
    "mobilenet_v3": "mobile.MobileNetV3",
    "mnasnet": "mobile.MnasNet",
    "efficientnet": "efficientnet.EfficientNet",
    "googlenet": "inception.GoogLeNet",
    "inception_v2": "inception.InceptionV2",
    "inception_v3": "inception.InceptionV3",
    "inception_v4": "inception.InceptionV4",
    "shufflenet_v2": "inception.ShuffleNetV2",
    "vit": "vit.ViT",
    "moe_vit": "vit.MoeViT",
    "mixer": "vit.Mixer",
    "swin": "swin.Swin",
    "levit": "hybrid.LeViT",
    "convnext": "hybrid.ConvNeXt",
    "ofa_mobilenet": "nas.OfaMobileNet",
    "ofa_proxyless": "nas.OfaProxyless",
    "ofa_resnet": "nas.OfaResNet",
    "nas_bench_201": "nas.NasBench201",
    "fbnet": "nas.FBNet",
    "darts": "darts.Darts",
    "yolo": "yolo.Yolo",
    "yolo_v6": "yolo_v6.YoloV6",
    "yolo_v6_lite": "yolo_lite.YoloV6Lite",
    "ssd": "ssd.Ssd",
    "retinanet": "detection.RetinaNet",
    "two_stage": "detection.TwoStage",
    "segmenter": "detection.Segmenter",
    "unet": "diffusion.UNet",
    "dit": "diffusion.DiT",
    "action_head": "robot.ActionHead",
    "composite": "composite.Composite",
    "recurrent": "recurrent.Recurrent",
    "dlrm": "tables.Dlrm",
    "neural_graphics": "tables.NeuralGraphics",
    "vector_search": "tables.VectorSearch",
    "tabular": "tables.Tabular",
    "mlp": "small.Mlp",
    "svm": "small.Svm",
    "spiking": "small.Spiking",
    "stream": "small.Stream",
    "random_walk": "small.RandomWalk",
    "tensor_network": "small.TensorNetwork",
    "gibbs": "small.GibbsSampler",
}


class _Families(Mapping[str, type[Any]]):
    """Family name -> dataclass with a method ``graph(step, name)``."""

    def __getitem__(self, name: str) -> type[Any]:
        module, _, cls = _PLACES[name].partition(".")
        found: type[Any] = getattr(importlib.import_module(f"perfmodel.workload.nets.{module}"), cls)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


NETS: Mapping[str, type[Any]] = _Families()
