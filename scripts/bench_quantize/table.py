"""What scripts/bench quantize prints: a table for each model, and Bevel beside the best peer."""

import peers


def is_int4(name):
    return name == "bevel-int4" or name in peers.INT4


def text(value, form):
    return "-" if value is None else format(value, form)


def print_model(network, rows):
    title = {"top1": "top-1 %", "map50": "mAP50 %", "none": "-"}[network.metric]
    print(f"\n{network.name:<28}{title:>8}{'SQNR dB':>9}{'agree %':>9}{'float':>8}{'KB':>9}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'latency':>9}")
    for part in (False, True):
        for row in rows:
            if is_int4(row["name"]) != part:
                continue
            products = f"{len(row['float_products'])}/{row['products']}" if row.get("products") is not None else "-"
            size = row["bytes"] / 1000 if "bytes" in row else None
            peak = row["peak"] / 1e6 if row["peak"] else None
            latency = row["latency_ms"] / row["float_latency_ms"] if "latency_ms" in row else None
            print(f"  {row['title']:<26}{text(row.get('metric'), '.2f'):>8}{text(row.get('sqnr_db'), '.2f'):>9}{text(row.get('agreement'), '.1f'):>9}"
                  f"{products:>8}{text(size, '.1f'):>9}{text(row['seconds'], '.1f'):>8}{text(row['cpu'], '.1f'):>8}{text(peak, '.0f'):>9}"
                  f"{text(latency, '.2f'):>9}  {'; '.join(row['notes'])}".rstrip(), flush=True)


def best(rows, network):
    """The row of the largest SQNR; of the largest metric where SQNR is no bound (detection)."""
    by = "sqnr_db" if network.int8.sqnr_db is not None else "metric"
    rows = [row for row in rows if row.get(by) is not None]
    return max(rows, key=lambda row: row[by], default=None)


def verdicts(row, bound, rival):
    """In which ways the row misses its bound, or its rival's SQNR."""
    found = []
    if bound.metric is None and bound.sqnr_db is None:
        return found
    if "metric" not in row:
        return ["no model" if "bytes" not in row else "not judged"]
    if bound.metric is not None and row["metric"] < bound.metric:
        found.append(f"metric {row['metric']:.2f} below {bound.metric}")
    if bound.sqnr_db is not None and row["sqnr_db"] is not None and row["sqnr_db"] < bound.sqnr_db:
        found.append(f"SQNR {row['sqnr_db']:.2f} below {bound.sqnr_db}")
    if rival and rival.get("sqnr_db") is not None and row["sqnr_db"] is not None and row["sqnr_db"] <= rival["sqnr_db"]:
        found.append(f"SQNR {row['sqnr_db']:.2f} not above {rival['title']}'s {rival['sqnr_db']:.2f}")
    return found


def print_summary(networks, rows):
    """Bevel's rows beside the best peer and what they must reach (metric / SQNR); returns what was missed."""
    missed = []
    pair = lambda metric, sqnr: f"{text(metric, '.2f')} / {text(sqnr, '.2f')}"
    for part, heading in ((False, "8 bits"), (True, "weights in 4 bits, activations in 8")):
        mine = [row for row in rows if row["name"].startswith("bevel-") and is_int4(row["name"]) == part]
        if not mine:
            continue
        print(f"\n{heading + ': metric / SQNR':<52}{'float':>7}  {'best peer':<42}{'Bevel':>15}{'at least':>16}")
        for network in networks:
            of = lambda test: [row for row in rows if row["model"] == network.name and test(row["name"])]
            base = of(lambda name: name == "float")[0]
            rival = best(of(lambda name: name in (peers.INT4 if part else peers.INT8)), network)
            bound = network.int4 if part else network.int8
            for row in mine:
                if row["model"] != network.name:
                    continue
                against = f"{pair(rival.get('metric'), rival['sqnr_db'])} {rival['title']}" if rival else "-"
                # Only what no preset, or int4, gives is held against the bounds: other presets trade accuracy for time.
                judged = row["name"] in ("bevel-default", "bevel-int4")
                found = verdicts(row, bound, rival) if judged else []
                missed += [f"{network.name}, {row['title']}: {what}" for what in found]
                print(f"  {network.name + ', ' + row['title']:<50}{text(base.get('metric'), '.2f'):>7}  {against:<42}"
                      f"{pair(row.get('metric'), row.get('sqnr_db')):>15}{pair(bound.metric, bound.sqnr_db):>16}"
                      f"  {'; '.join(found) if found else 'met' if judged else ''}".rstrip())
    print(f"\n{len(missed)} missed" + "".join(f"\n  {line}" for line in missed))
    return missed
