"""The peers: what they are called with, and (run as a program, in a process of its own) one of them at work.

    peers.py NAME MODEL CALIBRATION OUT [--samples N] [--transformer]

Prints one JSON object: seconds of pre-processing and of quantizing, notes, and what went wrong if something did. The peers get the samples
of the same description as Bevel, through its independent reader in tests/oracle.

Both tools want opset 13 for weights with a scale per channel; an older model is brought there by ONNX's version
converter. "folded" means: after ONNX Runtime's quant_pre_process, which folds BatchNormalization and constant
subgraphs; ONNX Runtime is always given its output.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

# tool: whose versions a result depends on; title: in the table; the rest: how it is called.
PEERS = {
    "ort": {"tool": "onnxruntime", "title": "onnxruntime"},
    "ort-reduce-range": {"tool": "onnxruntime", "title": "onnxruntime reduce_range", "reduce_range": True},
    "ort-int4": {"tool": "onnxruntime", "title": "onnxruntime int4 weights", "weights": "QInt4", "opset": 21},
    "ort-percentile": {"tool": "onnxruntime", "title": "onnxruntime percentile", "calibrate": "Percentile"},
    "nncf": {"tool": "nncf", "title": "nncf raw"},
    "nncf-mixed": {"tool": "nncf", "title": "nncf raw, mixed", "preset": "MIXED"},
    "nncf-folded": {"tool": "nncf", "title": "nncf folded", "folded": True},
    "nncf-folded-mixed": {"tool": "nncf", "title": "nncf folded, mixed", "folded": True, "preset": "MIXED"},
}
INT8 = ["ort", "ort-reduce-range", "nncf", "nncf-mixed", "nncf-folded", "nncf-folded-mixed"]
INT4 = ["ort-int4"]
MOST_MESSAGE = 200
REVISION = 1  # raised when this file makes other models of the same settings; part of the key under which results are kept


def group(name):
    """What `--peers` calls all of one tool: ort or nncf."""
    return name.partition("-")[0]


def applies(name, network):
    """NNCF's preset for transformers is MIXED already."""
    return not (network.transformer and PEERS[name].get("preset"))


def one_line(error):
    return " ".join(f"{type(error).__name__}: {error}".split())[:MOST_MESSAGE]


def at_opset(model, opset, notes):
    """The model in at least this opset."""
    from onnx import version_converter
    had = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if had >= opset:
        return model
    notes.append(f"opset {had} -> {opset} first")
    return version_converter.convert_version(model, opset)


def pre_process(source, target, notes):
    from onnxruntime.quantization.shape_inference import quant_pre_process
    try:
        quant_pre_process(source, target)
    except Exception as error:  # whatever it is, the peer gets a second chance without this part
        notes.append(f"symbolic shapes failed ({type(error).__name__})")
        quant_pre_process(source, target, skip_symbolic_shape=True)


def onnxruntime_quantize(peer, source, data, out, notes):
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.next = 0

        def get_next(self):
            if self.next >= data.count:
                return None
            self.next += 1
            return data.sample(self.next - 1)

    settings = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8,
                "weight_type": getattr(QuantType, peer.get("weights", "QInt8")), "reduce_range": peer.get("reduce_range", False),
                "calibrate_method": getattr(CalibrationMethod, peer.get("calibrate", "MinMax"))}
    try:
        quantize_static(source, out, Reader(), per_channel=True, **settings)
    except Exception as error:  # whatever it is, the peer gets a second chance with one scale for each weight
        notes.append(f"one scale per weight; per channel fails: {one_line(error)}")
        quantize_static(source, out, Reader(), per_channel=False, **settings)


def nncf_quantize(peer, source, data, out, transformer):
    import nncf
    import onnx
    preset = peer.get("preset")
    quantized = nncf.quantize(
        onnx.load(source), nncf.Dataset(range(data.count), data.sample), subset_size=data.count,
        preset=getattr(nncf.QuantizationPreset, preset) if preset else None,
        model_type=nncf.ModelType.TRANSFORMER if transformer else None)
    onnx.save(quantized, out)


def work(options, folder, notes):
    """Seconds of both parts; `notes` gets what was done beside what the peer's settings say."""
    import onnx
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/oracle"))
    from data import Data
    peer = PEERS[options.name]
    data = Data(options.calibration, options.samples)
    started = time.monotonic()
    source = os.path.join(folder, "source.onnx")
    onnx.save(at_opset(onnx.load(options.model), peer.get("opset", 13), notes), source)
    if peer["tool"] == "onnxruntime" or peer.get("folded"):
        prepared = os.path.join(folder, "prepared.onnx")
        pre_process(source, prepared, notes)
        source = prepared
    between = time.monotonic()
    if peer["tool"] == "onnxruntime":
        onnxruntime_quantize(peer, source, data, options.out, notes)
    else:
        nncf_quantize(peer, source, data, options.out, options.transformer)
    return {"prepare": between - started, "quantize": time.monotonic() - between}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("out")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--transformer", action="store_true")
    options = parser.parse_args()
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = work(options, folder, notes)
        except Exception as error:  # a peer that fails is a row that says why
            result = {"error": one_line(error)}
    print("\n" + json.dumps({**result, "notes": notes}))


if __name__ == "__main__":
    main()
