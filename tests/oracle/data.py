"""An independent reader of bevel-data/1 descriptions (docs/data-description.md), for judging Bevel from outside.

Uses NumPy and Pillow only. Covers the steps that need no resampling exactly; `resize` follows the description of ONNX's
Resize (linear, half_pixel, antialias) in float64 and rounds to uint8.
"""
import csv
import glob
import json
import os

import numpy as np


def _resize_axis(x, axis, size):
    """Antialiased triangle filter along one axis, edges renormalized (ONNX Resize-18, antialias=1, mode=linear)."""
    n = x.shape[axis]
    scale = size / n
    support = max(1.0, 1.0 / scale)
    weights = np.zeros((size, n))
    for i in range(size):
        centre = (i + 0.5) / scale - 0.5
        lo, hi = int(np.floor(centre - support)), int(np.ceil(centre + support))
        for j in range(lo, hi + 1):
            if 0 <= j < n:
                weights[i, j] = max(0.0, 1.0 - abs(j - centre) / support)
        weights[i] /= weights[i].sum()
    return np.moveaxis(np.tensordot(weights, np.moveaxis(x, axis, 0), axes=(1, 0)), 0, axis)


def _apply(x, step):
    (name, value), = step.items()
    if name == "resize":
        y = _resize_axis(_resize_axis(x.astype(np.float64), 0, value[0]), 1, value[1])
        return np.clip(np.rint(y), 0, 255).astype(np.uint8) if x.dtype == np.uint8 else y.astype(x.dtype)
    if name == "crop":
        top, left = (x.shape[0] - value[0]) // 2, (x.shape[1] - value[1]) // 2
        return x[top:top + value[0], left:left + value[1]]
    if name == "channels":
        return x[..., ::-1] if value == "bgr" else x
    if name == "cast":
        return x.astype(value)
    if name == "layout":
        return np.moveaxis(x, -1, 0) if value == "chw" else np.moveaxis(x, 0, -1)
    # Channels are first after `layout: chw`; a list has one value per channel, and channels are few.
    operand = np.asarray(value, np.float32)
    if operand.ndim == 1 and x.shape[-1] != operand.size:
        operand = operand.reshape(-1, *([1] * (x.ndim - 1)))
    return x.astype(np.float32) - operand if name == "subtract" else x.astype(np.float32) / operand


class Data:
    def __init__(self, path, samples=None):
        self.folder = os.path.dirname(os.path.abspath(path))
        if path.endswith(".npz"):
            self.spec = {"inputs": {k: {"from": f"{os.path.basename(path)}:{k}"} for k in np.load(path).files}}
        else:
            self.spec = json.load(open(path))
        self.sources, self.files = {}, None
        for name, entry in self.spec["inputs"].items():
            source = entry["from"]
            if "*" in source:
                self.sources[name] = self.files = sorted(glob.glob(os.path.join(self.folder, source)))
            elif ":" in source:
                file, key = source.rsplit(":", 1)
                self.sources[name] = np.load(os.path.join(self.folder, file))[key]
            else:
                self.sources[name] = np.load(os.path.join(self.folder, source))
        self.count = len(next(iter(self.sources.values())))
        if samples:
            self.count = min(self.count, samples)
        self.labels = self._labels(self.spec.get("labels"))
        self.metric = self.spec.get("metric", "")

    def _labels(self, source):
        if not source:
            return None
        file, key = source.rsplit(":", 1)
        path = os.path.join(self.folder, file)
        if file.endswith(".npz"):
            return np.load(path)[key]
        rows = list(csv.DictReader(open(path)))
        if "file" in rows[0] and self.files:
            by_name = {os.path.basename(r["file"]): int(r[key]) for r in rows}
            return np.array([by_name[os.path.basename(f)] for f in self.files])
        return np.array([int(r[key]) for r in rows])

    def sample(self, index):
        out = {}
        for name, source in self.sources.items():
            x = source[index]
            if isinstance(x, str):
                from PIL import Image
                x = np.asarray(Image.open(x).convert("RGB"))
            for step in self.spec["inputs"][name].get("steps", []):
                x = _apply(x, step)
            out[name] = np.ascontiguousarray(x)[None]
        return out
