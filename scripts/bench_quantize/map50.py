"""Boxes from FastestDet's output, and mean average precision at an overlap of one half.

The head of FastestDet (https://github.com/dog-qiuqiu/FastestDet) gives [1 + 4 + classes, H, W]: objectness, box, class probabilities per
cell. A cell's score is objectness^0.6 * (largest class)^0.4; its box has its centre at ((tanh(x) + column) / W, (tanh(y) + row) / H) and the
extents sigmoid(w), sigmoid(h), all relative to the image. Boxes of one class that overlap a better one by more than 0.45 are dropped.
Average precision is the area under the precision envelope (Everingham et al., The PASCAL VOC Challenge: A Retrospective, IJCV 2015), averaged
over the classes that occur in the labels. The float model has 34.07 on the shared evaluation images.
"""

import os

import numpy as np

LEAST_SCORE = 0.001
MOST_OVERLAP = 0.45
HIT_OVERLAP = 0.5
OBJECTNESS_POWER = 0.6


def overlaps(a, b):
    """Intersection over union of boxes [n, 4] and [m, 4] as left, top, right, bottom: [n, m]."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(axis=1)
    either = area_a[:, None] + area_b[None] - both
    return np.where(either > 0, both / np.where(either > 0, either, 1), 0)


def detections(output):
    """Scores, classes and boxes, best first, of one output [1 + 4 + classes, H, W]."""
    output = output.astype(np.float64)
    objectness, (x, y, w, h), classes = output[0], output[1:5], output[5:]
    rows, columns = np.mgrid[:objectness.shape[0], :objectness.shape[1]]
    centre = np.stack([(np.tanh(x) + columns) / objectness.shape[1], (np.tanh(y) + rows) / objectness.shape[0]], axis=-1)
    half = np.stack([0.5 / (1 + np.exp(-w)), 0.5 / (1 + np.exp(-h))], axis=-1)
    boxes = np.concatenate([centre - half, centre + half], axis=-1).reshape(-1, 4)
    # A quantized output may step below zero.
    scores = (np.maximum(objectness, 0) ** OBJECTNESS_POWER * np.maximum(classes.max(axis=0), 0) ** (1 - OBJECTNESS_POWER)).ravel()
    kinds = classes.argmax(axis=0).ravel()
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > LEAST_SCORE]
    scores, kinds, boxes = scores[order], kinds[order], boxes[order]
    hidden = (overlaps(boxes, boxes) > MOST_OVERLAP) & (kinds[:, None] == kinds[None])
    kept, dropped = [], np.zeros(len(scores), bool)
    for i in range(len(scores)):
        if not dropped[i]:
            kept.append(i)
            dropped |= hidden[i]
    return scores[kept], kinds[kept], boxes[kept]


def labels(path):
    """Classes and boxes of one file of lines `class centre_x centre_y width height`, relative to the image; none without a file."""
    rows = [line.split() for line in open(path)] if os.path.exists(path) else []
    rows = np.array([row for row in rows if row], np.float64).reshape(-1, 5)
    centre, half = rows[:, 1:3], rows[:, 3:5] / 2
    return rows[:, 0].astype(int), np.concatenate([centre - half, centre + half], axis=1)


def average_precision(hits, positives):
    """Area under the envelope of precision over recall; `hits` in the order of falling scores."""
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(envelope * np.asarray(hits)) / positives)


def mean_average_precision(found, wanted):
    """Percent; `found` per image as of `detections`, `wanted` as of `labels`."""
    results = []
    for kind in sorted({int(k) for kinds, _ in wanted for k in kinds}):
        scored, positives = [], 0
        for (scores, kinds, boxes), (true_kinds, true_boxes) in zip(found, wanted):
            truth = true_boxes[true_kinds == kind]
            positives += len(truth)
            mine = kinds == kind
            match = overlaps(boxes[mine], truth)
            taken = np.zeros(len(truth), bool)
            for score, row in zip(scores[mine], match):
                row = np.where(taken, -1, row)
                best = int(row.argmax()) if len(row) else -1
                hit = best >= 0 and row[best] >= HIT_OVERLAP
                if hit:
                    taken[best] = True
                scored.append((score, hit))
        scored.sort(key=lambda pair: -pair[0])
        results.append(average_precision([hit for _, hit in scored], positives) if scored else 0.0)
    return 100.0 * float(np.mean(results)) if results else 0.0


def metric(outputs, files):
    """`outputs` [images, 1 + 4 + classes, H, W]; the labels of FOLDER/NAME.jpg are in FOLDER_boxes/NAME.txt."""
    wanted = []
    for file in files:
        folder, name = os.path.split(file)
        wanted.append(labels(os.path.join(folder + "_boxes", os.path.splitext(name)[0] + ".txt")))
    return mean_average_precision([detections(output) for output in outputs], wanted)
