#!/usr/bin/env python3
"""Models that others quantized: read, run, made smaller, lowered, explained and compared with their float parent.

    elsewhere.py BEVEL SOURCE_DIR

From one small float network, with and without batch normalization: ONNX Runtime's static quantizer (QDQ and QOperator, signed and unsigned, by
channel and by tensor) and dynamic quantizer; exports of training with fake quantization (float weights that the graph rounds, float biases,
normalization unfolded); and files as NNCF writes them. ONNX Runtime is the judge of each file.
"""
import contextlib
import io
import logging
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

rng = np.random.default_rng(3)


def init(name, *shape):
    fan = np.prod(shape[1:]) if len(shape) > 1 else 4
    return nh.from_array((rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32), name)


def network(bn=False):
    nodes, inits = [], []
    def conv(x, y, cin, cout, k=3, group=1, stride=1):
        inits.extend([init(y + "_w", cout, cin // group, k, k), init(y + "_b", cout)])
        out = y + "_conv"
        nodes.append(h.make_node("Conv", [x, y + "_w", y + "_b"], [out], name=y + "_node", kernel_shape=[k, k], pads=[k // 2] * 4, group=group, strides=[stride] * 2))
        if bn:
            for p, v in (("s", rng.random(cout) + .5), ("o", rng.standard_normal(cout) * .1), ("m", rng.standard_normal(cout) * .1), ("v", rng.random(cout) + .5)):
                inits.append(nh.from_array(v.astype(np.float32), y + p))
            nodes.append(h.make_node("BatchNormalization", [out] + [y + p for p in "somv"], [y + "_bn"], name=y + "_norm"))
            out = y + "_bn"
        nodes.append(h.make_node("Relu", [out], [y], name=y + "_relu"))
        return y
    x = conv("image", "c1", 3, 8)
    x = conv(x, "c2", 8, 8, group=8)
    y = conv(x, "c3", 8, 8, k=1)
    nodes.append(h.make_node("Add", [x, y], ["sum"], name="join"))
    x = conv("sum", "c4", 8, 16, stride=2)
    nodes.append(h.make_node("GlobalAveragePool", [x], ["pool"], name="pool_node"))
    nodes.append(h.make_node("Flatten", ["pool"], ["flat"], name="flatten"))
    inits.extend([init("fc_w", 10, 16), init("fc_b", 10)])
    nodes.append(h.make_node("Gemm", ["flat", "fc_w", "fc_b"], ["logits"], name="fc", transB=1))
    g = h.make_graph(nodes, "net", [h.make_tensor_value_info("image", T.FLOAT, [None, 3, 16, 16])], [h.make_tensor_value_info("logits", T.FLOAT, [None, 10])], inits)
    m = h.make_model(g, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(m, full_check=True)
    return m


class Data(CalibrationDataReader):
    def __init__(self, images):
        self.samples = iter([{"image": image[None]} for image in images])

    def get_next(self):
        return next(self.samples, None)


def ranges(model, images):
    m = onnx.ModelProto()
    m.CopyFrom(model)
    names = [o for n in m.graph.node for o in n.output]
    del m.graph.output[:]
    m.graph.output.extend([h.make_tensor_value_info(n, T.FLOAT, None) for n in names])
    out = onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"image": images})
    r = {n: (min(v.min(), 0), max(v.max(), 0)) for n, v in zip(names, out)}
    r["image"] = (images.min(), images.max())
    return r


def fake_quant(model, images, per_channel=True, unsigned_weights=False, signed_activations=False, stored_integers=False, quantize_outputs=True, act_after=("Relu", "Add", "GlobalAveragePool", "Gemm"), opset=17):
    """As torch's FakeQuantize exports: float weights -> Q -> DQ; activations Q -> DQ behind rectifiers; biases float."""
    m = onnx.ModelProto()
    m.CopyFrom(model)
    g = m.graph
    r = ranges(m, images)
    weights = {i.name: nh.to_array(i) for i in g.initializer}
    nodes, rename = [], {}
    def pair(x, scale, zero, base, axis=None):
        g.initializer.extend([nh.from_array(np.asarray(scale, np.float32), base + "_scale"), nh.from_array(zero, base + "_zero")])
        kw = {} if axis is None else {"axis": axis}
        nodes.append(h.make_node("QuantizeLinear", [x, base + "_scale", base + "_zero"], [base + "_q"], name=base + "_Q", **kw))
        nodes.append(h.make_node("DequantizeLinear", [base + "_q", base + "_scale", base + "_zero"], [base + "_dq"], name=base + "_DQ", **kw))
        return base + "_dq"
    def act(x):
        lo, hi = r[x]
        s = max((hi - lo) / 255, 1e-6)
        t = np.int8 if signed_activations else np.uint8
        z = np.clip(np.rint(-lo / s) + (-128 if signed_activations else 0), np.iinfo(t).min, np.iinfo(t).max)
        return pair(x, s, np.asarray(z, t), x + "_act")
    rename["image"] = act("image")
    originals = list(g.node)
    for n in originals:
        ins = [rename.get(i, i) for i in n.input]
        if n.op_type in ("Conv", "Gemm"):
            w = weights[ins[1]]
            t = np.uint8 if unsigned_weights else np.int8
            amax = np.abs(w).reshape(w.shape[0], -1).max(1) if per_channel else np.abs(w).max()
            s = amax / 127
            z = np.full_like(s, 128 if unsigned_weights else 0, dtype=t) if per_channel else np.asarray(128 if unsigned_weights else 0, t)
            if stored_integers:
                sh = s.reshape((-1,) + (1,) * (w.ndim - 1)) if per_channel else s
                q = np.clip(np.rint(w / sh), -127, 127).astype(np.int8)
                base = ins[1]
                g.initializer.extend([nh.from_array(q, base + "_int"), nh.from_array(np.asarray(s, np.float32), base + "_scale"), nh.from_array(z, base + "_zero")])
                nodes.append(h.make_node("DequantizeLinear", [base + "_int", base + "_scale", base + "_zero"], [base + "_dq"], name=base + "_DQ", **({"axis": 0} if per_channel else {})))
                ins[1] = base + "_dq"
            else:
                ins[1] = pair(ins[1], s, z, ins[1], 0 if per_channel else None)
        n2 = onnx.NodeProto(); n2.CopyFrom(n); del n2.input[:]; n2.input.extend(ins)
        nodes.append(n2)
        if n.op_type in act_after:
            o = n.output[0]
            if o == "logits":
                if quantize_outputs:
                    n2.output[0] = "logits_raw"; r["logits_raw"] = r["logits"]
                    d = act("logits_raw"); nodes[-1].output[0] = "logits"
            else:
                rename[o] = act(o)
    del g.node[:]; g.node.extend(nodes)
    used = {i for n in nodes for i in n.input}
    keep = [i for i in g.initializer if i.name in used]; del g.initializer[:]; g.initializer.extend(keep)
    m.opset_import[0].version = opset
    onnx.checker.check_model(m, full_check=True)
    return m


def make(folder):
    images = rng.standard_normal((48, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "images.npz", image=images)
    plain, bn = network(), network(bn=True)
    onnx.save(plain, folder / "float.onnx"); onnx.save(bn, folder / "float_bn.onnx")
    parent = str(folder / "float.onnx")
    for name, kw in {
        "ort_qdq": dict(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True),
        "ort_qdq_u8": dict(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=False),
        "ort_qdq_u8u8": dict(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8, per_channel=False),
        "ort_qop": dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True),
        "ort_qop_u8": dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, weight_type=QuantType.QUInt8, per_channel=False)}.items():
        quantize_static(parent, str(folder / f"{name}.onnx"), Data(images), **kw)
    quantize_dynamic(parent, str(folder / "ort_dynamic.onnx"), weight_type=QuantType.QInt8)
    quantize_dynamic(parent, str(folder / "ort_dynamic_u8.onnx"), weight_type=QuantType.QUInt8)
    S = lambda m, n: onnx.save(m, folder / f"{n}.onnx")
    S(fake_quant(plain, images), "qat")
    S(fake_quant(plain, images, per_channel=False), "qat_tensor")
    S(fake_quant(plain, images, unsigned_weights=True, per_channel=False), "qat_u8w")
    S(fake_quant(plain, images, signed_activations=True), "qat_s8")
    S(fake_quant(bn, images), "qat_bn")
    S(fake_quant(plain, images, stored_integers=True), "nncf_like")
    S(fake_quant(plain, images, stored_integers=True, signed_activations=True, quantize_outputs=False), "nncf_like_s8_open")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def decibels(reference, value):
    reference, value = reference.astype(np.float64), value.astype(np.float64)
    return 10 * np.log10((reference ** 2).sum() / max(((reference - value) ** 2).sum(), 1e-300))


# Integers agree to the bit, and outputs to the order of one float product; a bias that is rounded to the accumulator's grid here and not there, or a
# normalization that is folded, moves single values by a step of their grid.
SAME_DB, STEPS_DB = 100, 40
LOWERED = 0                                    # nodes that stay in float
PROGRAMS = {"ort_dynamic": None, "ort_dynamic_u8": None,  # grids that are chosen in each run: no kernel, and the message says so
            "ort_qop_u8": 5, "ort_qdq_u8u8": 5,           # weights about a zero point that kernels do not take
            "nncf_like_s8_open": 1}                       # the last layer's result is not rounded
SHRINKS = {"qat", "qat_tensor", "qat_u8w", "qat_s8", "qat_bn"}  # float weights that the graph rounds


class Check:
    def __init__(self, bevel, folder, path):
        self.bevel, self.folder, self.path, self.wrong = bevel, folder, path, []
        self.reference = folder / ("float_bn.onnx" if "bn" in path.stem else "float.onnx")
        self.images = np.load(folder / "images.npz")["image"]
        self.expected = session(path).run(None, {"image": self.images})[0]

    def tool(self, *arguments, code=0):
        ran = subprocess.run([self.bevel, *map(str, arguments)], capture_output=True, text=True)
        if ran.returncode != code:
            self.wrong.append(f"{arguments[0]}: exit {ran.returncode}, expected {code}: {ran.stderr.strip()[:300]}")
        return ran if ran.returncode == code else None

    def near(self, what, expected, got, least):
        found = decibels(expected, got)
        if not found >= least:
            self.wrong.append(f"{what}: {found:.1f} dB, at least {least} expected")

    def all(self):
        name, images, out = self.path.stem, self.folder / "images.npz", self.folder / "out.npz"
        self.tool("inspect", self.path)
        if self.tool("run", self.path, "--inputs", images, "-o", out):
            self.near("run", self.expected, np.load(out)["logits"], SAME_DB)
        optimized = self.folder / "optimized.out"
        if self.tool("optimize", self.path, "--data", images, "-o", optimized):
            self.near("optimized", self.expected, session(optimized).run(None, {"image": self.images})[0], STEPS_DB if "bn" in name else SAME_DB)
            if name in SHRINKS and not optimized.stat().st_size < 0.6 * self.path.stat().st_size:
                self.wrong.append(f"optimize: {self.path.stat().st_size} to {optimized.stat().st_size} bytes, though weights are rounded in the graph")
        self.program(name)
        self.tool("compare", self.reference, self.path, "--data", images)
        explained = self.tool("explain", self.path, "--reference", self.reference, "--calib", images)
        if explained and "alone" not in explained.stdout:
            self.wrong.append("explain lists no layers")
        return self.wrong

    def program(self, name):
        stays = PROGRAMS.get(name, LOWERED)
        emitted = self.tool("emit-c", self.path, "--shape", "image=1x3x16x16", "-o", self.folder / "c", code=5 if stays is None else 0)
        if not emitted or stays is None:
            return
        found = next((int(line.split()[1]) for line in emitted.stdout.splitlines() if line.startswith("float ")), 0)
        if found != stays:
            self.wrong.append(f"emit-c: {found} nodes stay in float, {stays} expected:\n{emitted.stdout}")
        one = self.folder / "one.npz"
        np.savez(one, image=self.images[:1])
        if self.tool("run", self.folder / "c/model.bvl", "--inputs", one, "-o", self.folder / "out.npz"):
            self.near("program", self.expected[:1], np.load(self.folder / "out.npz")["logits"], STEPS_DB)


def half_precision(bevel, folder):
    """A file in half precision, compiled and emitted: borders of the Program are float32."""
    wrong = []
    model = onnx.load(folder / "float.onnx")
    for initializer in model.graph.initializer:
        initializer.CopyFrom(nh.from_array(nh.to_array(initializer).astype(np.float16), initializer.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = T.FLOAT16
    onnx.save(model, folder / "half.out")
    images = np.load(folder / "images.npz")["image"]
    expected = session(folder / "half.out").run(None, {"image": images[:1].astype(np.float16)})[0]
    np.savez(folder / "half.npz", image=images.astype(np.float16))
    np.savez(folder / "one.npz", image=images[:1])
    for arguments, least in ((["compile", folder / "half.out", "--calib", folder / "half.npz", "--target", "rpi4"], 25), (["emit-c", folder / "half.out"], 45)):
        ran = subprocess.run([bevel, *map(str, arguments), "-o", folder / "half_c"], capture_output=True, text=True)
        if ran.returncode != 0 or "half precision" not in ran.stdout:
            wrong.append(f"{arguments[0]} of half precision: exit {ran.returncode}: {ran.stderr}{ran.stdout}")
            continue
        ran = subprocess.run([bevel, "run", folder / "half_c/model.bvl", "--inputs", folder / "one.npz", "-o", folder / "out.npz"], capture_output=True, text=True)
        got = np.load(folder / "out.npz")["logits"] if ran.returncode == 0 else np.full_like(expected, np.nan)
        if got.dtype != np.float32 or not decibels(expected, got) >= least:
            wrong.append(f"{arguments[0]} of half precision: the Program gives {got.dtype}, {decibels(expected, got):.1f} dB: {ran.stderr}")
    return wrong


def main():
    failures = 0
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        with contextlib.redirect_stdout(io.StringIO()):
            make(folder)
        for path in sorted(folder.glob("*.onnx")):
            if path.stem.startswith("float"):
                continue
            wrong = Check(sys.argv[1], folder, path).all()
            failures += len(wrong)
            print(f"{'FAILED ' if wrong else ''}{path.stem}" + "".join(f"\n  {one}" for one in wrong))
        wrong = half_precision(sys.argv[1], folder)
        failures += len(wrong)
        print(f"{'FAILED ' if wrong else ''}half precision" + "".join(f"\n  {one}" for one in wrong))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
