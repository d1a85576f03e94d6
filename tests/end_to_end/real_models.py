#!/usr/bin/env python3
"""Networks that were not chosen to suit Bevel: `optimize` and `run` on them, judged by ONNX Runtime.

    real_models.py BEVEL SOURCE_DIR [NETWORK...]

Post-processing in the graph, weights in Constant nodes, dynamic shapes, text, If and LSTM with state, float16, QDQ and
QOperator files. Of each: the optimized file passes ONNX's checker and gives ONNX Runtime the source's outputs; `run` gives
ONNX Runtime's outputs of both files. Feeds are real samples where there are some, else seeded. Without the shared models: exit 77.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

# Of the largest element of an output. FLOAT: the arithmetic is the same, the order of sums is not. SAME: what optimize may move
# in ONNX Runtime's own outputs, by folding normalizations into weights. HALF: 65 float16 layers, each rounded to 11 bits here;
# ONNX Runtime computes them in float32 and rounds only the last.
FLOAT, SAME, HALF = 1e-4, 1e-5, 1e-2
# Probabilities in 8 bits, apart by steps of 1/256. An integer of an inner layer may be rounded differently (docs/rounding.md),
# and such a step grows on the way to the Softmax: ONNX Runtime's own optimized and unoptimized sessions differ like this too.
STEPS = 4 / 256


class Case:
    def __init__(self, feeds, tolerance=FLOAT, quantized=False, qdq=True, carried=None):
        self.feeds, self.tolerance, self.quantized = feeds, tolerance, quantized
        self.exact_session = quantized and qdq
        self.carried = carried  # (output, input): from one feed to the next of the same shape


def cases(models):
    random = np.random.default_rng(20)
    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)
    uniform = lambda *shape: random.random(shape, dtype=np.float32)
    keyword, keywords = ({"serving_default_input:0": uniform(rows, 1960) * 26} for rows in (1, 4))
    magika = np.load(models / "magika/eval.npz")["bytes"]
    text = np.load(models / "sst2/eval.npz")
    words = lambda rows, length: {name: text[name][:rows, :length] for name in ("input_ids", "attention_mask")}
    clips = np.load(models / "silero_vad/clips.npz")
    # As Silero's own code feeds it: each chunk after the end of the last one. Without that the network hears silence, whose
    # probability of 5e-4 is 5e-8 off in ONNX Runtime's Sigmoid.
    spoken = clips["pcm16"][np.flatnonzero(clips["labels"] == 1)[:3]].astype(np.float32) / 32768
    voice = lambda rows, chunk, rate: [{"input": np.ascontiguousarray(spoken[:rows, begin - chunk // 8:begin + chunk]),
                                        "state": np.zeros((2, rows, 128), np.float32), "sr": np.array(rate, np.int64)}
                                       for begin in range(6000, 6000 + 4 * chunk, chunk)]
    picture = normal(1, 3, 224, 224) * 60
    return {
        "ultraface/model": Case([{"input": normal(1, 3, 240, 320) / 2}]),
        "ppocr_cls/model": Case([{"x": normal(1, 3, 48, 192) / 2}, {"x": normal(2, 3, 48, 100) / 2}]),
        "micro_kws/micro_kws_m_static_fp32": Case([keyword]),
        "micro_kws/micro_kws_m_qdq": Case([keyword, keywords], STEPS, quantized=True),
        "micro_kws/micro_kws_m_static_qdq": Case([keyword], STEPS, quantized=True),
        "micro_kws/micro_kws_m_qoperator_softmax": Case([keyword], STEPS, quantized=True, qdq=False),
        "micro_kws/mixed_ops_dynamic_batch": Case([{"input": normal(1, 3, 32, 32)}, {"input": normal(3, 3, 32, 32)}]),
        "fastestdet/model": Case([{"input.1": uniform(1, 3, 352, 352)}]),
        "magika/model": Case([{"bytes": magika[:2]}]),
        "sst2/model": Case([words(2, 48), words(3, 9)]),
        "silero_vad/silero_vad_16k_op15": Case(voice(1, 512, 16000) + voice(3, 512, 16000), carried=("stateN", "state")),
        "silero_vad/silero_vad_op18_ifless": Case(voice(3, 512, 16000) + voice(2, 256, 8000), carried=("stateN", "state")),
        "squeezenet/model": Case([{"data_0": picture}]),
        "squeezenet/model_fp16": Case([{"data_0": picture.astype(np.float16)}], HALF),
    }


def session(path, exact):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if exact:  # of QDQ files; with it ONNX Runtime 1.32 finds no kernel for an int8 QLinearMatMul
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def distance(expected, got, absolute):
    """The largest difference over the outputs, of each one's largest element unless absolute; infinite when they do not match."""
    worst = 0.0
    for one, other in zip(expected, got, strict=True):
        if one.shape != other.shape or one.dtype != other.dtype or not (np.isfinite(one) & np.isfinite(other)).all():
            return np.inf
        one, other = one.astype(np.float64), other.astype(np.float64)
        worst = max(worst, np.abs(one - other).max() / (1 if absolute else np.abs(one).max()))
    return worst


class Network:
    def __init__(self, bevel, name, source, case, scratch):
        self.bevel, self.name, self.source, self.case, self.scratch = bevel, name, source, case, scratch
        self.wrong = []

    def tool(self, *arguments):
        return subprocess.run([self.bevel, *map(str, arguments)], capture_output=True, text=True)

    def compare(self, what, expected, got, tolerance):
        far = distance(expected, got, self.case.quantized)
        if not far <= tolerance:
            self.wrong.append(f"{what} by {far:.2e}, at most {tolerance:.1e} was expected")
        return far

    def run(self, model, feed, names):
        """The outputs that `bevel run` gives, or why there are none."""
        np.savez(self.scratch / "in.npz", **feed)
        ran = self.tool("run", model, "--inputs", self.scratch / "in.npz", "-o", self.scratch / "out.npz")
        if ran.returncode != 0:
            return None, f"exit {ran.returncode}: {ran.stderr.strip()}"
        with np.load(self.scratch / "out.npz") as outputs:
            return [outputs[name] for name in names], ""

    def check(self):
        optimized = self.scratch / "optimized.onnx"
        # One input is enough here: the judge below is ONNX Runtime.
        result = self.tool("optimize", self.source, "-o", optimized, "--samples", "1")
        if result.returncode != 0:
            self.wrong.append(f"optimize: exit {result.returncode}: {result.stderr.strip()}")
            return
        try:
            onnx.checker.check_model(str(optimized), full_check=True)
        except Exception as error:  # the checker's own types, and those of shape inference
            self.wrong.append(f"ONNX's checker refuses the optimized file: {error}")
        judge, judge_optimized = (session(path, self.case.exact_session) for path in (self.source, optimized))
        names = [value.name for value in judge.get_outputs()]
        if names != [value.name for value in judge_optimized.get_outputs()]:
            self.wrong.append("the optimized file has other outputs")
            return
        moved = apart = 0.0
        carried = None
        for feed in self.case.feeds:
            if self.case.carried and carried is not None and carried.shape == feed[self.case.carried[1]].shape:
                feed = {**feed, self.case.carried[1]: carried}
            expected = judge.run(None, feed)
            if self.case.carried:
                carried = expected[names.index(self.case.carried[0])]
            after = judge_optimized.run(None, feed)
            moved = max(moved, self.compare("optimize moves ONNX Runtime's outputs", expected, after, SAME))
            for model in (self.source, optimized):
                outputs, why = self.run(model, feed, names)
                if outputs is None:
                    self.wrong.append(f"run of {model.name}: {why}")
                else:
                    what = f"run of {model.name} is apart from ONNX Runtime"
                    apart = max(apart, self.compare(what, expected, outputs, self.case.tolerance))
        nodes = [len(onnx.load(path).graph.node) for path in (self.source, optimized)]
        if nodes[1] > nodes[0]:
            self.wrong.append(f"optimize made {nodes[1]} nodes of {nodes[0]}")
        print(f"{self.name:<42}{nodes[0]:>6}{nodes[1]:>6}{moved:>12.1e}  {apart:.1e} of {self.case.tolerance:.1e}", flush=True)


def main():
    bevel, source = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    wanted = sys.argv[3:]
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source.parent / "shared")) / "models"
    if not models.is_dir():
        print(f"SKIPPED: {models} is absent (set BEVEL_SHARED)")
        return 77
    failed = checked = 0
    print(f"{'network':<42}{'nodes':>6}{'opt.':>6}{'moved':>12}  run from ONNX Runtime")
    for name, case in cases(models).items():
        if wanted and not any(word in name for word in wanted):
            continue
        checked += 1
        with tempfile.TemporaryDirectory() as scratch:
            network = Network(bevel, name, models / f"{name}.onnx", case, pathlib.Path(scratch))
            network.check()
        for why in network.wrong:
            print(f"FAILED: {name}: {why}")
        failed += bool(network.wrong)
    print(f"{checked} networks checked, {failed} wrong")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
