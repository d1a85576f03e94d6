"""What each step of Bevel's quantization adds: one more method at a time, judged as everything else is."""

import json

from table import text

# Title, arguments of `bevel quantize`, defaults of its recipe (None: no recipe).
STEPS = [
    ("minmax, nearest", ["--preset", "fast", "--range", "minmax"], None),
    ("mse, nearest", ["--preset", "fast", "--range", "mse"], None),
    ("auto, nearest (fast)", ["--preset", "fast"], None),
    ("+ second-order", [], {"equalize": False}),
    ("+ equalized (balanced)", [], None),
]


def rows(bench, network):
    """A row for each step."""
    recipe = bench.folder / "step.json"
    for title, arguments, defaults in STEPS:
        if defaults is not None:
            recipe.write_text(json.dumps({"format": "bevel-recipe/1", "defaults": defaults}))
            arguments = [*arguments, "--recipe", recipe]
        yield bench.bevel_with(network, f"step-{title}", title, arguments)


def run(bench, networks):
    """Prints the table, as Markdown; 1 when a step failed."""
    print("metric / SQNR in dB, judged in exact arithmetic\n")
    print("| network | " + " | ".join(title for title, *_ in STEPS) + " |\n| --- |" + " --- |" * len(STEPS), flush=True)
    failed = []
    for network in networks:
        cells = []
        for row in rows(bench, network):
            failed += [f"{network.name}, {row['title']}: {note}" for note in row["notes"]]
            metric = text(row.get("metric"), ".2f")
            cells.append(f"{metric} / {text(row.get('sqnr_db'), '.1f')}" if metric != "-" else text(row.get("sqnr_db"), ".1f"))
        print(f"| {network.name} | " + " | ".join(cells) + " |", flush=True)
    print("".join(f"\n{line}" for line in failed))
    return 1 if failed else 0
