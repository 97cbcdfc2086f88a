"""CAL once more, from its description: plain dictionaries, everything recomputed at every step.

Boxes are parallel to the axes here. Shares no code with the package.
"""

import math
import struct


def entropy(p: float) -> float:
    p = struct.unpack('f', struct.pack('f', p))[0]  # files hold float32; otherwise 0.2 and 0.8 would tie here only
    p = min(max(p, 1e-6), 1 - 1e-6)
    return -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[0] + a[3] / 2, b[0] + b[3] / 2) - max(a[0] - a[3] / 2, b[0] - b[3] / 2)
    height = min(a[1] + a[4] / 2, b[1] + b[4] / 2) - max(a[1] - a[4] / 2, b[1] - b[4] / 2)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[3] * a[4] + b[3] * b[4] - width * height)


def cosine(f: list[float], g: list[float]) -> float:
    lengths = math.sqrt(sum(x * x for x in f)) * math.sqrt(sum(x * x for x in g))
    return sum(x * y for x, y in zip(f, g)) / lengths if lengths else 0.0


def ensemble(ours: list[dict], theirs: list[dict]) -> list[dict]:
    result = [dict(box) for box in ours]
    if not ours:
        return result
    for box in theirs:
        if not box['score'] > 0.5:
            continue
        overlaps = [overlap(box['box'], mine['box']) for mine in ours]
        best = overlaps.index(max(overlaps))
        if overlaps[best] > 0.5:
            if box['score'] > result[best]['score']:
                result[best] = dict(box)
        elif box['score'] > 0.8:
            result.append(dict(box))
    return result


def similarity(features: list[list[float]], selected: list[list[list[float]]], div: str) -> float:
    scenes = [scene for scene in selected if scene]
    if not features or not scenes:
        return 0.0
    if div == 'union':
        scenes = [[feature for scene in scenes for feature in scene]]
    means = [sum(max(0.0, *(cosine(f, g) for g in scene)) for f in features) / len(features) for scene in scenes]
    return round(max(means), 6)


def select(  # noqa: C901 (as long as the text it follows)
    pool: dict[str, list[dict]],
    reference: dict[str, list[dict]] | None,
    bought_boxes: dict[str, dict[str, int]] | None,
    budget: int,
    caps: dict[str, float],
    t_sim: float = 0.9,
    s_obj: float = 0.3,
    w_full: float = 0.1,
    excluded: frozenset[str] = frozenset(),
    div: str = 'union',
    counts: str = 'reliable',
    labelled: list[list[list[float]]] = (),
    cost_score: float = 0.3,
) -> list[dict]:
    merged = {name: ensemble(boxes, reference[name]) if reference else boxes for name, boxes in pool.items()}
    for name, boxes in merged.items():
        for box in boxes:
            box['reliable'] = not reference or any(overlap(box['box'], other['box']) > 0.2 for other in reference[name])
    features = {name: [box['feature'] for box in boxes] for name, boxes in pool.items()}
    weight, counted, full = dict.fromkeys(caps, 1.0), dict.fromkeys(caps, 0), set()
    chosen, spent, level = [], 0, 0
    selected = list(labelled)

    def value(name: str) -> float:
        boxes = merged[name]
        if not boxes:
            return -math.inf
        return round(sum(weight[box['label']] * entropy(box['score']) for box in boxes) / len(boxes), 12)

    def objects(name: str, label: str, threshold: float) -> int:
        return sum(box['label'] == label and box['reliable'] and box['score'] > threshold for box in merged[name])

    ladder = [(1 + 0.1 * step, False, t_sim) for step in range(11)]  # score threshold, then classes, then similarity
    ladder += [(2, True, limit) for limit in dict.fromkeys([t_sim, *(min(t_sim * (1 + k / 10), 1) for k in range(11))])]
    ladder += [(2, True, math.inf)]

    while spent < budget and level < len(ladder):
        accepted = False
        factor, any_class, limit = ladder[level]
        threshold = round(s_obj / factor, 9)
        names = sorted(set(pool) - excluded - {entry['frame_id'] for entry in chosen}, key=lambda n: (-value(n), n))
        for name in names:
            sim = similarity(features[name], selected, div)
            if selected and sim >= round(limit, 9):
                continue
            if not any_class and not any(objects(name, label, threshold) for label in caps if label not in full):
                continue
            accepted = True
            chosen.append({'frame_id': name, 'utility': value(name), 'similarity': sim, 'relax_level': level})
            predicted = sum(box['reliable'] and box['score'] > cost_score for box in merged[name])
            spent += sum(bought_boxes[name].values()) if bought_boxes else predicted
            for label in caps:
                own = bought_boxes[name].get(label, 0) if counts == 'annotated' else objects(name, label, threshold)
                counted[label] += own
            selected.append(features[name])
            newly = {label for label in caps if counted[label] >= caps[label]} - full
            full |= newly
            for label in newly:
                weight[label] = w_full
            if newly or spent >= budget:
                break
        if not accepted:
            level += 1
    return chosen
