#!/usr/bin/env python3
"""Number formats inside subgraphs, on the voice detectors whose layers stand in branches of If: judged by ONNX Runtime.

    bodies.py BEVEL SOURCE_DIR

Of each file that `quantize` writes: it passes ONNX's checker, ONNX Runtime loads and runs it, its size is within the bound, its outputs are near
the float model's, and `run` gives ONNX Runtime's outputs of the same file. Without the shared models: exit 77.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

CHUNK, CONTEXT, RATE = 512, 64, 16000
# model, flags, bytes at most, SQNR of both outputs against float at least, and of Bevel's run against ONNX Runtime's
CASES = [
    ("silero_vad_16k_op15", ["--activations", "float32", "--calib", "DATA"], 360_000, 35, 70),
    ("silero_vad_16k_op15", ["--activations", "float32"], 360_000, 15, 70),
    ("silero_vad_16k_op15", ["--activations", "float32", "--weights", "int4", "--calib", "DATA"], 205_000, 15, 70),
    ("silero_vad_16k_op15", ["--activations", "dynamic"], 365_000, 12, 60),
    ("silero_vad_16k_op15", ["--weights", "float16", "--calib", "DATA"], 660_000, 45, 30),
    ("silero_vad_16k_op15", ["--calib", "DATA"], 520_000, 10, None),
    ("silero_vad_op18_ifless", ["--activations", "float32", "--calib", "DATA"], 1_260_000, 35, 70),
    ("silero_vad_op18_ifless", ["--activations", "float32", "--weights", "int4", "--calib", "DATA"], 980_000, 18, 70),
    ("silero_vad_op18_ifless", ["--weights", "float16", "--calib", "DATA"], 1_770_000, 45, 30),
    ("silero_vad_op18_ifless", ["--calib", "DATA"], 1_240_000, 10, None),
]


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def feeds_of(models):
    """Chunks of clips, each with the state that the float network has reached."""
    network = session(models / "silero_vad_16k_op15.onnx")
    feeds = []
    for clip in np.load(models / "clips.npz")["pcm16"][:8].astype(np.float32) / 32768:
        state = np.zeros((2, 1, 128), np.float32)
        clip = np.pad(clip, (CONTEXT, 0))
        for begin in range(0, 6 * CHUNK, CHUNK):
            feeds.append({"input": clip[None, begin:begin + CONTEXT + CHUNK], "state": state, "sr": np.array(RATE, np.int64)})
            state = network.run(None, feeds[-1])[1]
    return feeds


def decibels(reference, value):
    reference, value = reference.astype(np.float64), value.astype(np.float64)
    return 10 * np.log10((reference ** 2).sum() / max(((reference - value) ** 2).sum(), 1e-300))


def main():
    bevel, source = sys.argv[1], pathlib.Path(sys.argv[2])
    models = pathlib.Path(os.environ.get("BEVEL_SHARED", source / "../shared")) / "models/silero_vad"
    if not models.exists():
        print(f"SKIPPED: no shared models at {models}")
        sys.exit(77)
    feeds, failures = feeds_of(models), 0
    with tempfile.TemporaryDirectory() as scratch:
        data, out, given, got = (pathlib.Path(scratch) / name for name in ("data.npz", "q.onnx", "in.npz", "out.npz"))
        np.savez(data, input=np.concatenate([feed["input"] for feed in feeds]), state=np.stack([feed["state"] for feed in feeds]),
                 sr=np.stack([feed["sr"] for feed in feeds]))
        for name, flags, most_bytes, least_float, least_same in CASES:
            model = models / f"{name}.onnx"
            subprocess.run([bevel, "quantize", model, *(str(data) if flag == "DATA" else flag for flag in flags), "--eval", data, "-o", out],
                           check=True, stdout=subprocess.DEVNULL)
            onnx.checker.check_model(onnx.load(out), full_check=True)
            reference, written = session(model), session(out)
            expected, judged, ours = [], [], []
            for i, feed in enumerate(feeds):
                expected.append(reference.run(None, feed))
                judged.append(written.run(None, feed))
                if least_same is None or i >= 4:
                    continue
                np.savez(given, **feed)
                subprocess.run([bevel, "run", out, "--inputs", given, "-o", got], check=True, stdout=subprocess.DEVNULL)
                with np.load(got) as outputs:
                    ours.append([outputs[value.name] for value in written.get_outputs()])
            against_float = min(decibels(np.stack(one), np.stack(other)) for one, other in zip(zip(*expected), zip(*judged)))
            same = min((decibels(np.stack(one), np.stack(other)) for one, other in zip(zip(*judged[:4]), zip(*ours))), default=np.inf)
            size = out.stat().st_size
            bad = size > most_bytes or not against_float >= least_float or (least_same is not None and not same >= least_same)
            failures += bad
            print(f"{'FAILED ' if bad else ''}{name} {' '.join(flags)}: {model.stat().st_size} to {size} bytes, {against_float:.1f} dB against float, "
                  f"{same:.1f} dB between Bevel and ONNX Runtime")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
