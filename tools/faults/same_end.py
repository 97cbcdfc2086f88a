"""Whether two experiments ended alike: steps, labelled frames, weights, banks and label stores."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ssal3d.data.label_state import LabelState
from ssal3d.fileio import read_json


def differences(work_dir: Path, undisturbed: Path) -> list[str]:
    """Return in what two experiments differ: steps, labelled frames, weights, banks and label stores."""
    found = []
    steps, expected = (steps_of(folder) for folder in (work_dir, undisturbed))
    if steps != expected:
        return [f'steps {steps}, expected {expected}']
    for path in sorted(undisturbed.glob('labels/round_?.json')):
        frames = LabelState.read(work_dir / 'labels' / path.name).frames
        if frames != LabelState.read(path).frames:
            found.append(f'{path.name}: other labelled frames')
    for path in sorted(undisturbed.rglob('epoch_*.pth')):
        name = path.relative_to(undisturbed)
        if not (work_dir / name).exists():
            found.append(f'{name} is missing')
            continue
        state, other = (_weights(folder / name) for folder in (work_dir, undisturbed))
        if set(state) != set(other) or not all(torch.equal(state[key], other[key]) for key in other):
            found.append(f'{name}: other weights')
    for path in sorted(undisturbed.rglob('CURRENT')):
        name = path.relative_to(undisturbed)
        found += _generations(work_dir / name, path, str(name))
    leftovers = [path for path in work_dir.rglob('.*.tmp')]
    return found + [f'left over: {path.relative_to(work_dir)}' for path in leftovers[:3]]


def _generations(current: Path, expected: Path, name: str) -> Iterator[str]:
    """Yield in what the current generations of two stores differ."""
    if not current.exists() or current.read_text() != expected.read_text():
        yield f'{name}: another generation is current'
        return
    folder, other = (path.parent / path.read_text().strip() for path in (current, expected))
    for path in sorted(other.glob('*.npy')):
        if not np.array_equal(np.load(folder / path.name), np.load(path)):
            yield f'{name}: {path.name} differs'


def steps_of(work_dir: Path) -> list[str]:
    """Return the finished steps of an experiment."""
    path = work_dir / 'journal.json'
    return [step['step'] for step in read_json(path)['steps']] if path.exists() else []


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location='cpu', weights_only=False)['state_dict']  # our own file
