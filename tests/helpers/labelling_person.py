"""A person who labels: edits exported files as an annotation tool would, and remembers what was done."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from ssal3d.ops.boxes import bev_iou

# What the person does to the first pre-labels of a batch, whether or not it makes sense.
WORK = ('accepted', 'moved', 'resized', 'relabelled')
LONGEST = 20.0  # m; young detectors predict what no person would leave
TOUCHES = 0.1  # BEV IoU from which a pre-label is taken for an object, and corrected instead of drawn anew


class Person:
    """Corrects pre-labels: some by fixed moves, those that touch an object by its true box; deletes and draws the rest.

    Attributes:
        done: Boxes by what was done to them.
    """

    def __init__(self, classes, truth):
        self.classes, self.truth = classes, truth
        self.done, self.seen = Counter(), 0

    def correct(self, frame, prelabels):
        """Return what becomes of each pre-label ``(class, box)`` of a frame (None: deleted), and new ones."""
        boxes = np.array([box for _, box in prelabels]).reshape(-1, 7)
        names, objects = self.truth(int(frame))
        touching, result, drawn = bev_iou(objects, boxes), [None] * len(boxes), []
        for index, (name, box) in enumerate(prelabels):
            if self.seen < len(WORK) and min(box[3:6]) > 0.1 and max(box[3:6]) < LONGEST:
                result[index] = self.handle(WORK[self.seen], name, list(box))
                touching[:, index] = 0
                self.seen += 1
        for name, true, overlaps in zip(names, objects.tolist(), touching):
            best = int(overlaps.argmax()) if len(boxes) else 0
            if len(boxes) and overlaps[best] >= TOUCHES:
                result[best] = name, true
                touching[:, best] = 0
                self.count(prelabels[best], result[best])
            else:
                drawn.append((name, true))
        self.done.update(added=len(drawn), deleted=result.count(None))
        return result, drawn

    def handle(self, work, name, box):
        self.done.update((work, *(['edited'] if work != 'accepted' else [])))
        box[0] += 0.3 * (work == 'moved')
        box[5] += 0.2 * (work == 'resized')
        if work == 'relabelled':
            name = next(other for other in self.classes if other != name)
        return name, box

    def count(self, before, after):
        difference = np.abs(np.subtract(after[1], before[1]))
        turn = min(difference[6] % (2 * np.pi), -difference[6] % (2 * np.pi))
        kinds = {
            'moved': difference[:3].max() > 1e-3,
            'resized': difference[3:6].max() > 1e-3,
            'turned': turn > np.radians(0.1),
            'relabelled': before[0] != after[0],
        }
        self.done.update(['edited', *(name for name, changed in kinds.items() if changed)])

    def edit_json(self, folder: Path, frames=None):
        """Work on exported ``json``, in place."""
        for path in sorted((folder / 'labels').glob('*.json')):
            if frames is not None and path.stem not in frames:
                continue
            content = json.loads(path.read_text())
            result, drawn = self.correct(path.stem, [(entry['class'], entry['box']) for entry in content['boxes']])
            kept = [
                {**entry, 'class': found[0], 'box': found[1]} for entry, found in zip(content['boxes'], result) if found
            ]
            kept += [{'class': name, 'box': box} for name, box in drawn]
            path.write_text(json.dumps({**content, 'boxes': kept}, indent=1))

    def edit_sly(self, folder: Path, archive: Path):
        """Work on an exported Supervisely project, and give it back as an archive."""
        for path in sorted(folder.glob('*/ann/*.json')):
            content = json.loads(path.read_text())
            owners = {entry['key']: entry for entry in content['objects']}
            pairs = [(owners[figure['objectKey']], figure) for figure in content['figures']]
            frame = path.name.partition('.')[0]
            result, drawn = self.correct(frame, [(owner['classTitle'], box_of(figure)) for owner, figure in pairs])
            kept = [(pair, found) for pair, found in zip(pairs, result) if found]
            for number, found in enumerate(drawn):
                key = f'person-{frame}-{number}'
                figure = {'key': f'{key}-figure', 'objectKey': key, 'geometryType': 'cuboid_3d'}
                kept.append((({'key': key, 'tags': []}, figure), found))
            for (owner, figure), (name, box) in kept:
                owner['classTitle'] = name
                figure['geometry'] = {
                    'position': dict(zip('xyz', box[:3])),
                    'dimensions': dict(zip('xyz', box[3:6])),
                    'rotation': {'x': 0, 'y': 0, 'z': box[6]},
                }
            content |= {'objects': [pair[0] for pair, _ in kept], 'figures': [pair[1] for pair, _ in kept]}
            path.write_text(json.dumps(content))
        with zipfile.ZipFile(archive, 'w') as file:
            for path in sorted(folder.rglob('*')):
                file.write(path, path.relative_to(folder))


def box_of(figure):
    geometry = figure['geometry']
    return [*(geometry[part][axis] for part in ('position', 'dimensions') for axis in 'xyz'), geometry['rotation']['z']]
