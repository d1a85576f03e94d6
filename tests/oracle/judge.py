#!/usr/bin/env python3
"""Judges a quantized model against its float parent in ONNX Runtime, in exact integer arithmetic.

    judge.py FLOAT.onnx INT8.onnx DATA.json [--samples N] [--threads N]

Prints one JSON object: metric of both, SQNR of the first output pooled over samples, agreement of the arg max.
session.x64quantprecision=1 keeps ONNX Runtime's integer kernels from saturating on x86 without VNNI.
"""
import argparse
import json
import math

import numpy as np
import onnxruntime as ort

from data import Data


def session(path, threads=1):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("float_model")
    parser.add_argument("int8_model")
    parser.add_argument("data")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    data = Data(args.data, args.samples)
    reference, quantized = session(args.float_model, args.threads), session(args.int8_model, args.threads)
    names = [i.name for i in reference.get_inputs()]
    signal = noise = 0.0
    agree = right_float = right_int8 = 0
    for i in range(data.count):
        feed = {k: v for k, v in data.sample(i).items() if k in names}
        a, b = reference.run(None, feed)[0].astype(np.float64), quantized.run(None, feed)[0].astype(np.float64)
        signal += float((a * a).sum())
        noise += float(((a - b) ** 2).sum())
        ka, kb = int(a.argmax()), int(b.argmax())
        agree += ka == kb
        if data.labels is not None:
            right_float += ka == data.labels[i]
            right_int8 += kb == data.labels[i]
    result = {"samples": data.count, "sqnr_db": 10 * math.log10(signal / noise) if noise else math.inf,
              "agreement": 100.0 * agree / data.count}
    if data.labels is not None:
        result |= {"float": 100.0 * right_float / data.count, "int8": 100.0 * right_int8 / data.count}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
