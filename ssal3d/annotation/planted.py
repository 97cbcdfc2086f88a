"""Errors as people make them, planted into labels, to measure what a check of labels finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ssal3d.annotation.model import Cuboid, LabelFrame
from ssal3d.annotation.quality import Suspicion

KINDS = ('missed', 'displaced', 'size', 'class', 'duplicate', 'points')
_NEAR = 2.0  # m; a suspicion this near to a planted error, in its frame, found it
_PHANTOM = (4.0, 60.0)  # m from the sensor: where boxes without an object stand


@dataclass(frozen=True)
class PlantedError:
    """An error.

    Attributes:
        frame_id: Its frame.
        kind: One of `KINDS`.
        box: Where a person must look.
    """

    frame_id: str
    kind: str
    box: tuple[float, ...]


def plant(
    frames: Sequence[LabelFrame], classes: Sequence[str], share: float, seed: int = 0
) -> tuple[list[LabelFrame], list[PlantedError]]:
    """Spoil a share of the boxes of right labels, every kind of error equally often.

    Forgotten; moved by half to one of its width; one side 1.5 to 2.2 times as long or short; another class; drawn
    twice, 5 to 20 cm apart; a box of an object's size where none is.

    Args:
        frames: Right labels.
        classes: Class names.
        share: Of the boxes.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    places = [(number, index) for number, frame in enumerate(frames) for index in range(len(frame.cuboids))]
    chosen = rng.permutation(len(places))[: round(share * len(places))]
    kinds = {places[pick]: KINDS[turn % len(KINDS)] for turn, pick in enumerate(chosen.tolist())}
    spoilt, errors = [], []
    for number, frame in enumerate(frames):
        cuboids: list[Cuboid] = []
        for index, cuboid in enumerate(frame.cuboids):
            kind = kinds.get((number, index))
            result = [cuboid] if kind is None else _spoil(cuboid, kind, classes, rng)
            cuboids += result
            if kind is not None:
                box = cuboid.box if kind == 'missed' else result[-1].box
                errors.append(PlantedError(frame.frame_id, kind, box))
        spoilt.append(replace(frame, cuboids=tuple(cuboids)))
    return spoilt, errors


def _spoil(cuboid: Cuboid, kind: str, classes: Sequence[str], rng: np.random.Generator) -> list[Cuboid]:
    box = np.array(cuboid.box)
    if kind == 'missed':
        return []
    if kind == 'displaced':
        turn = rng.uniform(0, 2 * np.pi)
        box[:2] += rng.uniform(0.5, 1.0) * box[4] * np.array((np.cos(turn), np.sin(turn)))
    elif kind == 'size':
        box[3 + rng.integers(3)] *= rng.uniform(1.5, 2.2) ** rng.choice((-1, 1))
    elif kind == 'class':
        return [replace(cuboid, class_name=str(rng.choice([name for name in classes if name != cuboid.class_name])))]
    elif kind == 'duplicate':
        turn = rng.uniform(0, 2 * np.pi)
        box[:2] += rng.uniform(0.05, 0.2) * np.array((np.cos(turn), np.sin(turn)))
        return [cuboid, replace(cuboid, box=tuple(box.tolist()))]
    else:
        turn, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*_PHANTOM)
        box[:2] = distance * np.cos(turn), distance * np.sin(turn)
        box[2] += 0.1
        return [cuboid, replace(cuboid, box=tuple(box.tolist()))]
    return [replace(cuboid, box=tuple(box.tolist()))]


def hits(found: Sequence[Suspicion], errors: Sequence[PlantedError]) -> list[int]:
    """Return for each suspicion the position of the planted error that it points at, -1 for a false alarm.

    A suspicion points at the nearest error of its frame within 2 m, whatever kind it names.

    Args:
        found: Suspicions.
        errors: What was planted.
    """
    of_frame: dict[str, list[int]] = {}
    for position, error in enumerate(errors):
        of_frame.setdefault(error.frame_id, []).append(position)
    result = []
    for entry in found:
        near = [
            (float(np.hypot(*np.subtract(errors[position].box[:2], entry.box[:2]))), position)
            for position in of_frame.get(entry.frame_id, ())
        ]
        best = min(near, default=(np.inf, -1))
        result.append(best[1] if best[0] <= _NEAR else -1)
    return result


def precision_at(found: Sequence[int], number: int) -> float:
    """Return the share of the first suspicions that point at an error.

    Args:
        found: What `hits` returned.
        number: How many of them count.
    """
    first = found[:number]
    return sum(position >= 0 for position in first) / len(first) if first else 0.0


def recall_by_kind(found: Sequence[int], errors: Sequence[PlantedError]) -> Mapping[str, tuple[int, int]]:
    """Return the errors that were found and all errors, by kind.

    Args:
        found: What `hits` returned.
        errors: What was planted.
    """
    planted = {position for position in found if position >= 0}
    counts = {}
    for kind in KINDS:
        of_kind = [position for position, error in enumerate(errors) if error.kind == kind]
        counts[kind] = (sum(position in planted for position in of_kind), len(of_kind))
    return counts
