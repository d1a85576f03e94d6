#!/usr/bin/env python3
"""Writes the small data sets of the command-line tests: tests/cli/data. Seeded; run it after changing it, and commit the result."""
import json
import pathlib

import numpy as np

OUT = pathlib.Path(__file__).parent / "data"
SAMPLES = 24


def description(name, entry, **more):
    content = {"format": "bevel-data/1", "inputs": {"x": entry}} | more
    (OUT / name).write_text(json.dumps(content, indent=1) + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    random = np.random.default_rng(7)
    x = random.standard_normal((SAMPLES, 1, 4, 4)).astype(np.float32)
    labels = random.integers(0, 3, SAMPLES)
    np.savez_compressed(OUT / "good.npz", x=x, labels=labels)
    np.savez_compressed(OUT / "bare.npz", x=x)
    np.savez_compressed(OUT / "one.npz", x=x[:1])
    np.savez_compressed(OUT / "wrong_name.npz", image=x)
    np.savez_compressed(OUT / "wrong_shape.npz", x=x[:, :, :3])
    np.savez_compressed(OUT / "wrong_dtype.npz", x=(x * 10).astype(np.int16))
    np.savez_compressed(OUT / "uint8.npz", x=(x * 10).astype(np.uint8))
    np.savez_compressed(OUT / "zero.npz", x=x[:0])
    bad = x.copy()
    bad[5, 0, 1, 2] = np.nan
    np.savez_compressed(OUT / "nan.npz", x=bad)
    description("good.json", {"from": "good.npz:x"}, labels="good.npz:labels", metric="top1")
    description("unlabelled.json", {"from": "good.npz:x"})
    description("no_metric.json", {"from": "good.npz:x"}, labels="good.npz:labels")
    description("top3.json", {"from": "good.npz:x"}, labels="good.npz:labels", metric="top3")
    description("wrong_key.json", {"from": "good.npz:nothing"})
    description("unknown_key.json", {"from": "good.npz:x", "stepps": []})
    description("outside.json", {"from": "../good.npz:x"})
    description("absent_labels.json", {"from": "good.npz:x"}, labels="good.npz:classes", metric="top1")
    (OUT / "no_such_node.recipe.json").write_text(
        json.dumps({"format": "bevel-recipe/1", "nodes": {"konv": {"precision": "float32"}}}, indent=1) + "\n")
    (OUT / "unknown_key.recipe.json").write_text(
        json.dumps({"format": "bevel-recipe/1", "nodes": {"conv": {"bits": 4}}}, indent=1) + "\n")
    (OUT / "float.recipe.json").write_text(
        json.dumps({"format": "bevel-recipe/1", "defaults": {"weights": "float32"}}, indent=1) + "\n")
    (OUT / "not_json.recipe.json").write_text("precision = float32\n")
    (OUT / "weights.bin").write_bytes(bytes(12))
    (OUT / "text.onnx").write_text("This is not a model, it is a letter.\nIt has two lines.\n")
    (OUT / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n")
    (OUT / "empty.onnx").write_bytes(b"")


if __name__ == "__main__":
    main()
