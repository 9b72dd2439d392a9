"""The networks of the zoo by name, each as the pipeline takes it; small inputs, where the architecture allows them.

    torchvision's as they are named, timm's by `timm:NAME`, our own by `benchmarks.zoo.modules:…`

torchvision's are one of each family, timm's the smallest of families that torchvision does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.zoo.modules import SIZE

OWN = "benchmarks.zoo.modules"


@dataclass(frozen=True)
class Network:
    """One row of the table."""

    name: str
    model: str
    """As `model.name` of the pipeline's configuration."""
    size: int = SIZE
    """Height and width of its input in pixels."""
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    """As `model.options`."""
    task: str = "classification"

    @property
    def source(self) -> str:
        """Who wrote the module: torchvision, timm or own."""
        return {"timm": "timm", OWN: "own"}.get(self.model.partition(":")[0], "torchvision")


def own(name: str) -> Network:
    """Return a network of `modules.py`."""
    return Network(name, f"{OWN}:{name}")


def timm(name: str, size: int = SIZE, **options: bool | int | float | str) -> Network:
    """Return a network of timm's; the options are its constructor's."""
    return Network(name, f"timm:{name}", size, options)


def finding(name: str, task: str, size: int) -> Network:
    """Return one of torchvision's detectors or segmentation models."""
    return Network(name, name, size, task=task)


NETWORKS: tuple[Network, ...] = (
    own("EinsumAttention"),
    own("MultiheadEncoder"),
    own("EncoderLayers"),
    own("DotProductVit"),
    own("ShiftedWindows"),
    own("GatedMixer"),
    own("GruRows"),
    own("LstmRows"),
    own("RnnColumns"),
    own("GroupNormMish"),
    own("PaddedInstanceNorm"),
    own("SpatialTransformer"),
    own("EncoderDecoder"),
    own("PixelShuffles"),
    own("UnevenDepthwise"),
    own("Interpolations"),
    own("Poolings"),
    own("Volumes"),
    own("ChannelShuffles"),
    own("Selections"),
    own("Activations"),
    own("Reductions"),
    timm("convnextv2_atto"),
    timm("fastvit_t8"),
    timm("repvit_m0_9"),
    timm("efficientvit_b0"),
    timm("mobilenetv4_conv_small"),
    timm("ghostnetv2_100"),
    timm("mobileone_s0"),
    timm("levit_128s", 224),
    timm("poolformer_s12"),
    timm("resmlp_12_224", img_size=SIZE),
    timm("edgenext_xx_small"),
    timm("tinynet_e"),
    timm("hgnetv2_b0"),
    timm("xcit_nano_12_p16_224", img_size=SIZE),
    timm("deit_tiny_patch16_224", img_size=SIZE),
    timm("coatnet_nano_rw_224", img_size=SIZE),
    Network("alexnet", "alexnet"),
    Network("vgg11", "vgg11"),
    Network("googlenet", "googlenet"),
    Network("inception_v3", "inception_v3", 299),
    Network("squeezenet1_1", "squeezenet1_1"),
    Network("densenet121", "densenet121"),
    Network("mobilenet_v2", "mobilenet_v2"),
    Network("mobilenet_v3_small", "mobilenet_v3_small"),
    Network("mnasnet0_5", "mnasnet0_5"),
    Network("shufflenet_v2_x0_5", "shufflenet_v2_x0_5"),
    Network("efficientnet_b0", "efficientnet_b0"),
    Network("efficientnet_v2_s", "efficientnet_v2_s"),
    Network("regnet_y_400mf", "regnet_y_400mf"),
    Network("resnet18", "resnet18"),
    Network("resnext50_32x4d", "resnext50_32x4d"),
    Network("convnext_tiny", "convnext_tiny"),
    Network("vit_b_32", "vit_b_32"),
    Network("swin_t", "swin_t"),
    Network("swin_v2_t", "swin_v2_t"),
    Network("maxvit_t", "maxvit_t", 224),
    finding("ssdlite320_mobilenet_v3_large", "detection", 320),
    finding("ssd300_vgg16", "detection", 300),
    finding("retinanet_resnet50_fpn", "detection", 160),
    finding("retinanet_resnet50_fpn_v2", "detection", 160),
    finding("fcos_resnet50_fpn", "detection", 160),
    finding("fasterrcnn_mobilenet_v3_large_320_fpn", "detection", 320),
    finding("fasterrcnn_resnet50_fpn_v2", "detection", 160),
    finding("maskrcnn_resnet50_fpn", "instances", 128),
    finding("lraspp_mobilenet_v3_large", "segmentation", 160),
    finding("deeplabv3_mobilenet_v3_large", "segmentation", 160),
    finding("deeplabv3_resnet50", "segmentation", 128),
    finding("fcn_resnet50", "segmentation", 128),
)


def named(names: str) -> list[Network]:
    """Those of a comma-separated list, all for an empty one. Raises KeyError with the name that is not there."""
    known = {network.name: network for network in NETWORKS}
    return [known[name.strip()] for name in names.split(",")] if names else list(NETWORKS)
