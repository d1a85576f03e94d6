#!/usr/bin/env python3
"""Accuracy, size, time and memory of quantization on the shared models, beside ONNX Runtime and NNCF.

    scripts/bench quantize [--models resnet8,kws] [--presets default,int4] [--peers ort,nncf] [--only-bevel] [--json FILE]
    scripts/bench quantize --cost [--rounds 3] [--images 100]
    scripts/bench quantize --steps [--models resnet8,kws]

All calibrate on the same samples (every one of the calibration description) and are judged on the evaluation samples
by ONNX Runtime in exact integer arithmetic with all graph optimizations: the metric (accuracy, for fastestdet mAP50, in
percent), SQNR of the outputs against the float model's, agreement of the arg max, and how many convolutions and matrix
products stay in float. Wall and processor seconds and peak memory are those of a process of its own, on --threads
cores; Bevel's hold the check of what it wrote. The second part is 4-bit weights with 8-bit activations.

Peers (pinned in scripts/bench_quantize/requirements.txt, installed in build/bench-quantize/venv when first needed):
  onnxruntime: quant_pre_process, then quantize_static: QDQ, per channel, uint8 activations; and the same with reduce_range
  nncf: nncf.quantize on the model as it is ("raw") and after onnxruntime's quant_pre_process, which folds BatchNormalization
    ("folded"); its default preset and MIXED; model_type TRANSFORMER for sst2
Their models and figures are kept in build/bench-quantize/cache and used again for the same model, samples, versions and
settings; such rows say "cached", and their times are those of the run that made them. --fresh makes them anew;
--only-bevel takes peers from there alone. Judgements are kept by the bytes of the judged model, Bevel's too.

Exit 1: Bevel's model is not more accurate (SQNR) than every peer's, or less than it must be (scripts/bench_quantize/networks.py).
Times are printed and not judged.
--cost: instead, time and peak memory on effnet_lite0 in turns with ONNX Runtime's MinMax.
--steps: instead, what each step of Bevel's quantization adds: metric / SQNR with one more method at a time.
"""

import argparse
import json
import os
import pathlib
import shlex
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts/bench_quantize"))
import cost  # noqa: E402
import peers  # noqa: E402
import steps  # noqa: E402
import table  # noqa: E402
import work  # noqa: E402
from networks import NETWORKS, SHARED  # noqa: E402


class Bench:
    def __init__(self, options, python, folder):
        self.options, self.python, self.folder = options, python, pathlib.Path(folder)
        self.cache = work.Cache(options.fresh)
        judges = (work.HERE / "accuracy.py", work.HERE / "map50.py", ROOT / "tests/oracle/data.py", ROOT / "tests/oracle/judge.py")
        self.judge_key = work.digest(work.versions("onnxruntime"), *judges)

    def judge(self, network, model):
        """The figures of one model on the evaluation samples; the float model's own when it is that."""
        parent = work.digest(network.model, work.data_digest(network.data("eval")), network.batch, self.judge_key)
        key = "judged-" + work.digest(parent, model, self.options.latency)
        record = self.cache.get(key)
        if record is None:
            reference = self.cache.path("reference-" + parent, ".npz")
            if model == network.model and self.options.fresh:
                reference.unlink(missing_ok=True)
            command = [self.python, work.HERE / "accuracy.py", network.model, network.data("eval"), model, "--reference", reference,
                       "--metric", network.metric, "--batch", network.batch, "--latency", self.options.latency]
            record = work.last_record(work.measured(command, self.options.threads))
            if not record.get("crashed"):
                self.cache.put(key, record)
        return record

    def row(self, network, name, title, model, result, notes):
        """`result`: seconds, cpu, peak; `model`: None when there is none and the notes say why."""
        row = {"model": network.name, "name": name, "title": title, "notes": notes,
               **{key: result.get(key) for key in ("seconds", "cpu", "peak", "threads")}}
        if model is not None:
            judged = self.judge(network, model)
            row |= {"bytes": model.stat().st_size, **judged}
            if "error" in judged:
                row["notes"] = notes + [judged["error"]]
        return row

    def copy_of(self, network):
        """Each contender gets a copy of the model: one of them writes into the file that it reads."""
        copy = self.folder / "model.onnx"
        shutil.copyfile(network.model, copy)
        return copy

    def bevel(self, network, preset):
        title = "bevel" if preset == "default" else f"bevel {preset}"
        return self.bevel_with(network, f"bevel-{preset}", title, [] if preset == "default" else ["--preset", preset])

    def bevel_with(self, network, name, title, more):
        out = self.folder / "bevel.onnx"
        out.unlink(missing_ok=True)
        command = [self.options.bevel, "quantize", self.copy_of(network), "--calib", network.data("calib"), "-o", out,
                   "-j", self.options.threads, *shlex.split(self.options.bevel_options), *more]
        result = work.measured(command, self.options.threads)
        notes = [] if result["code"] == 0 else [f"exit {result['code']}: " + " ".join(result["err"].split())[:300]]
        return self.row(network, name, title, out if not notes else None, result, notes)

    def peer(self, network, name):
        """A peer's row, from the cache when it is there; None when it is not and peers are not to be run."""
        peer = peers.PEERS[name]
        key = f"{network.name}-{name}-" + work.digest(network.model, work.data_digest(network.data("calib")), peer, peers.REVISION,
                                                      work.versions(peer["tool"]))
        record, model = self.cache.get(key), self.cache.path(key, ".onnx")
        cached = record is not None
        if not cached:
            if self.options.only_bevel:
                return None
            copy = self.copy_of(network)
            command = [self.python, work.HERE / "peers.py", name, copy, network.data("calib"), model]
            result = work.measured(command + (["--transformer"] if network.transformer else []), self.options.threads)
            record = work.last_record(result)
            record |= {"seconds": result["seconds"], "cpu": result["cpu"], "peak": result["peak"], "threads": self.options.threads}
            if copy.read_bytes() != network.model.read_bytes():
                record["notes"] = record.get("notes", []) + ["rewrote its input file"]
            if not record.get("crashed"):
                self.cache.put(key, record)
        notes = record.get("notes", []) + ([record["error"]] if "error" in record else []) + (["cached"] if cached else [])
        return self.row(network, name, peer["title"], model if "error" not in record else None, record, notes)

    def run(self, network):
        """All rows of a model: the 8-bit part, then the 4-bit part."""
        chosen = [name for name in peers.INT8 + peers.INT4 if peers.applies(name, network)
                  and {name, peers.group(name)} & set(self.options.peers)]
        rows = [self.row(network, "float", "float", network.model, {}, [])]
        rows += [self.bevel(network, preset) for preset in self.options.presets]
        return rows + [row for row in (self.peer(network, name) for name in chosen) if row is not None]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench quantize", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [network.name for network in NETWORKS]
    comma = lambda text: [word for word in text.split(",") if word]
    parser.add_argument("--bevel", type=pathlib.Path, default=ROOT / "build/release/bevel")
    parser.add_argument("--models", type=comma, default=names, help=f"of {','.join(names)}")
    parser.add_argument("--presets", type=comma, default=["default", "int4"],
                        help="presets of `bevel quantize`, `default` for none named; int4 is judged in the second part "
                             "(default: default,int4)")
    parser.add_argument("--peers", type=comma, default=["ort", "nncf"],
                        help=f"ort, nncf, none, or single ones of {','.join(peers.INT8 + peers.INT4)}")
    parser.add_argument("--only-bevel", action="store_true", help="run Bevel alone, beside what peers left in the cache")
    parser.add_argument("--fresh", action="store_true", help="make and judge everything anew, whatever the cache holds")
    parser.add_argument("--bevel-options", default="", metavar="TEXT", help="more arguments for `bevel quantize`, as one text")
    parser.add_argument("--latency", type=int, nargs="?", const=30, default=0, metavar="ROUNDS",
                        help="also the least latency of one inference in ONNX Runtime on one thread, over the float model's")
    parser.add_argument("--threads", type=int, default=1, help="cores for each contender (default 1)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all figures here")
    parser.add_argument("--steps", action="store_true", help="what each step of Bevel's quantization adds instead")
    parser.add_argument("--cost", action="store_true", help="time and memory on effnet_lite0 instead")
    parser.add_argument("--rounds", type=int, default=3, help="with --cost: turns of each contender")
    parser.add_argument("--images", type=int, default=100, help="with --cost: calibration images")
    options = parser.parse_args()
    for word in options.models:
        if word not in names:
            parser.error(f"--models {word}: known are {', '.join(names)}")
    for word in options.peers:
        if word not in ("ort", "nncf", "none", *peers.INT8, *peers.INT4):
            parser.error(f"--peers {word}: known are ort, nncf, none, {', '.join(peers.INT8 + peers.INT4)}")
    if not 1 <= options.threads <= os.cpu_count():
        parser.error(f"--threads {options.threads}: this machine has {os.cpu_count()} cores")
    return options


def main():
    options = arguments()
    if not (SHARED / "models").is_dir():
        print(f"skipped: {SHARED / 'models'} is absent (set BEVEL_SHARED)")
        return 77
    if not options.bevel.exists():
        sys.exit(f"{options.bevel}: absent; scripts/build release bevel")
    python = work.environment()
    if options.cost:
        return cost.run(options, python)
    if options.steps:
        with tempfile.TemporaryDirectory() as folder:
            return steps.run(Bench(options, python, folder), [network for network in NETWORKS if network.name in options.models])
    print(f"peers: {', '.join(work.versions('nncf'))}; {options.threads} core(s) for each contender; judged in exact arithmetic\n"
          "rows marked cached: the peer's model and times of an earlier run (--fresh makes them anew)", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, python, folder)
        for network in NETWORKS:
            if network.name in options.models:
                found = bench.run(network)
                table.print_model(network, found)
                rows += found
    missed = table.print_summary([network for network in NETWORKS if network.name in options.models], rows)
    if options.json:
        options.json.write_text(json.dumps({"versions": work.versions("nncf"), "rows": rows, "missed": missed}, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
