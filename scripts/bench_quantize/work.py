"""The environment of the peers, processes with their time and peak memory, and the cache of results."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

from networks import ROOT

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = ROOT / "build/bench-quantize"
REQUIREMENTS = HERE / "requirements.txt"

# Runs a command in a process of its own, so that none inherits another's maximum. Peak: the largest process of the command's tree.
WRAPPER = """
import json, resource, subprocess, sys, time
started = time.monotonic()
done = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"seconds": time.monotonic() - started, "cpu": usage.ru_utime + usage.ru_stime, "code": done.returncode,
                  "peak": usage.ru_maxrss * 1024,
                  "out": done.stdout.decode(errors="replace"), "err": done.stderr.decode(errors="replace")[-2000:]}))
"""


def environment():
    """The environment's Python; made when it is not there, or when the pinned versions are others."""
    folder, wanted = FOLDER / "venv", REQUIREMENTS.read_text()
    mark = folder / "installed-requirements"
    python = folder / "bin/python"
    if not mark.exists() or mark.read_text() != wanted:
        print(f"installing {REQUIREMENTS.relative_to(ROOT)} in {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        maker = next(path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK))
        subprocess.run([maker, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-r", REQUIREMENTS], check=True)
        mark.write_text(wanted)
    return python


def versions(tool):
    """The pinned packages whose change makes another result of this tool."""
    packages = ("onnxruntime", "onnx") + (("nncf",) if tool == "nncf" else ())
    return [line for line in REQUIREMENTS.read_text().splitlines() if line.partition("==")[0] in packages]


def measured(command, threads):
    """Runs a command on so many cores: seconds, cpu seconds, peak bytes, exit code, stdout and the end of stderr."""
    count = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    allowed = sorted(os.sched_getaffinity(0))[-threads:]
    # CI: openvino_telemetry, which nncf brings, then sends nothing.
    wrapped = subprocess.run([sys.executable, "-c", WRAPPER, *map(str, command)], capture_output=True, text=True, check=True,
                             env={**os.environ, **count, "CI": "true"}, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
    return json.loads(wrapped.stdout)


def last_record(result):
    """The JSON object on the last line of what a helper process printed; its fault as a record when there is none."""
    if result["code"] != 0:
        return {"error": f"exit {result['code']}: " + " ".join(result["err"].split())[-300:], "crashed": True}
    return json.loads(result["out"].strip().splitlines()[-1])


def digest(*parts):
    """A short name for bytes, files (paths) and anything that JSON can say."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            part = part.read_bytes()
        elif not isinstance(part, bytes):
            part = json.dumps(part, sort_keys=True).encode()
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:24]


def data_digest(description):
    """Of a data description and every file that it names."""
    spec = json.loads(description.read_text())
    sources = [entry["from"] for entry in spec["inputs"].values()] + ([spec["labels"]] if "labels" in spec else [])
    files = sorted({file for source in sources for file in description.parent.glob(source.rsplit(":", 1)[0])})
    boxes = sorted({file for folder in {path.parent for path in files} for file in folder.with_name(folder.name + "_boxes").glob("*.txt")})
    return digest(description, *(part for file in files + boxes for part in (file.name, file)))


class Cache:
    """Records, and files beside them, by the hash of what they were made of."""

    def __init__(self, fresh):
        self.folder, self.fresh, self.made = FOLDER / "cache", fresh, set()
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, key, suffix):
        return self.folder / (key + suffix)

    def get(self, key):
        record = self.path(key, ".json")
        if (self.fresh and key not in self.made) or not record.exists():
            return None
        return json.loads(record.read_text())

    def put(self, key, record):
        self.made.add(key)
        temporary = self.path(key, ".json.new")
        temporary.write_text(json.dumps(record))
        temporary.replace(self.path(key, ".json"))
