"""The shared models that quantization is measured on."""

import dataclasses
import os
import pathlib
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = pathlib.Path(os.environ.get("BEVEL_SHARED", ROOT.parent / "shared"))


class Bound(typing.NamedTuple):
    """What Bevel's model must reach on the evaluation samples; None: not judged."""
    metric: typing.Optional[float]
    sqnr_db: typing.Optional[float]


@dataclasses.dataclass(frozen=True)
class Network:
    name: str
    metric: str  # top1, map50, or none: nothing but the outputs to judge by
    int8: Bound
    int4: Bound  # weights in 4 bits (depthwise, first and last may have 8), activations in 8
    images: bool = False  # samples are the common ImageNet images
    transformer: bool = False
    batch: int = 1  # samples per run of the judge

    @property
    def model(self):
        return SHARED / "models" / self.name / "model.onnx"

    def data(self, role):
        """role: calib or eval."""
        if self.images:
            return SHARED / f"models/imagenet/{self.name}_{role}.json"
        return SHARED / "models" / self.name / f"{role}.json"

    @property
    def agreement(self):
        """Whether the arg max of an output means something."""
        return self.metric == "top1"


NETWORKS = [
    Network("resnet8", "top1", Bound(76.1, 23.5), Bound(75.3, 17)),
    Network("vww", "top1", Bound(85.6, 32), Bound(85.6, 22)),
    Network("kws", "top1", Bound(91.2, 29), Bound(91.0, 22)),
    Network("ad", "none", Bound(None, 31), Bound(None, 20)),
    Network("fmnist_vgg", "top1", Bound(93.2, 38.5), Bound(93.0, 27)),
    Network("mnist8", "top1", Bound(98.2, 34), Bound(98.2, 24)),
    Network("squeezenet", "top1", Bound(61.6, 22), Bound(57.5, 12), images=True),
    Network("effnet_lite0", "top1", Bound(85.6, 20.5), Bound(82.5, 8), images=True),
    Network("sst2", "top1", Bound(76.0, 26), Bound(75.9, 24), transformer=True, batch=8),
    Network("fastestdet", "map50", Bound(33.3, None), Bound(None, None)),
]
