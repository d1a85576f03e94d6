"""Time and peak memory of calibrating and quantizing effnet_lite0, in turns with ONNX Runtime (quant_pre_process, then quantize_static).

Bevel runs in two ways: `calibrate` + `quantize --profile`, whose built-in check is on a few seeded random inputs, and
`quantize --calib` with each preset that was named, whose check is on the images. Its peak on 20 images and on all must be
within 5 %.
"""

import pathlib
import statistics
import tempfile

import networks
import peers
import work

FEW = 20
MOST_GROWTH = 0.05


def contenders(options, python, folder, network, images):
    """Name -> commands that run one after the other."""
    model, out = folder / "model.onnx", folder / "int8.onnx"
    model.write_bytes(network.model.read_bytes())
    threads = ["-j", options.threads]
    samples = ["--calib", network.data("calib"), "--samples", images]
    profile = folder / "profile"
    found = {"bevel calibrate, quantize --profile": [
        [options.bevel, "calibrate", model, *samples, *threads, "-o", profile],
        [options.bevel, "quantize", model, "--profile", profile, *threads, "-o", out]]}
    for preset in options.presets:
        named = [] if preset == "default" else ["--preset", preset]
        found[f"bevel quantize --calib{' --preset ' + preset if named else ''}"] = [
            [options.bevel, "quantize", model, *samples, *threads, *named, "-o", out]]
    if images != FEW and "none" not in options.peers:
        found[peers.PEERS["ort"]["title"] + " MinMax"] = [
            [python, work.HERE / "peers.py", "ort", model, network.data("calib"), out, "--samples", images]]
    return found


def once(commands, threads):
    """Seconds, cpu seconds, peak; or what a command said when it failed."""
    results = []
    for command in commands:
        result = work.measured(command, threads)
        if result["code"] != 0:
            return None, " ".join(result["err"].split())[:200]
        if "peers.py" in str(command[1]) and "error" in work.last_record(result):
            return None, work.last_record(result)["error"]
        results.append(result)
    return (sum(r["seconds"] for r in results), sum(r["cpu"] for r in results), max(r["peak"] for r in results)), None


def run(options, python):
    network = next(network for network in networks.NETWORKS if network.name == "effnet_lite0")
    counts, measured, failed = [FEW, options.images], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            for images in counts:
                for name, commands in contenders(options, python, pathlib.Path(folder), network, images).items():
                    if (name, images) in failed:
                        continue
                    figures, fault = once(commands, options.threads)
                    if fault:
                        failed[name, images] = fault
                    else:
                        measured.setdefault((name, images), []).append(figures)
    print(f"{network.name}, {options.threads} core(s), {options.rounds} turns"
          f"\n{'':<44}{'images':>7}{'least s':>9}{'median s':>10}{'CPU s':>8}{'peak MB':>9}")
    for (name, images), figures in measured.items():
        seconds = [figure[0] for figure in figures]
        print(f"{name:<44}{images:>7}{min(seconds):>9.1f}{statistics.median(seconds):>10.1f}{min(figure[1] for figure in figures):>8.1f}"
              f"{max(figure[2] for figure in figures) / 1e6:>9.0f}")
    for (name, images), fault in failed.items():
        print(f"{name:<44}{images:>7}  {fault}")
    return summary(measured, options.images)


def summary(measured, images):
    """Ratios of each way of Bevel to ONNX Runtime, and the growth of its peak; 1 when a peak grows."""
    least = lambda key: min(figure[0] for figure in measured[key])
    peak = lambda key: max(figure[2] for figure in measured[key])
    rival = next((key for key in measured if not key[0].startswith("bevel")), None)
    grows = False
    print()
    for key in measured:
        name, count = key
        if count != images or not name.startswith("bevel"):
            continue
        line = f"{name:<44}"
        if rival:
            line += f" / {rival[0]}: time {least(key) / least(rival):.2f}, peak {peak(key) / peak(rival):.2f};"
        if (name, FEW) in measured:
            growth = peak(key) / peak((name, FEW)) - 1
            grows |= abs(growth) > MOST_GROWTH
            line += f" peak {FEW} -> {images} images {growth:+.1%} (within {MOST_GROWTH:.0%})"
        print(line)
    return 1 if grows else 0
