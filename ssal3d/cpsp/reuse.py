"""Which generations of the box bank a run may use again, and which ones it must still find when it goes on."""

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ssal3d.bank.generation import Generation
from ssal3d.cpsp.settings import CPSPSettings

CHECKPOINTS = 2  # should the newest one turn out to be damaged, a run goes on from the one before


def why_not_reused(
    generation: Generation,
    weights_sha256: str,
    settings: CPSPSettings,
    labelled: Sequence[str],
    unlabelled: Sequence[str],
) -> str | None:
    """Return why a published generation is not the one that a run would build now, or None if it is.

    Args:
        generation: What a run that was killed has left.
        weights_sha256: SHA-256 of the weights that would predict for it now.
        settings: Settings of now.
        labelled: Ids of the labelled frames of now.
        unlabelled: Ids of the unlabelled frames of now.
    """
    if generation.meta.get('provenance', {}).get('weights_sha256') != weights_sha256:
        return 'other weights predicted for it'
    other = _other_setting(generation.meta.get('settings', {}), settings)
    return other or _other_frame(generation, labelled, unlabelled)


def _other_setting(found: Mapping[str, Any], settings: CPSPSettings) -> str | None:
    """Return in words the first setting that differs from that of a generation's meta data."""
    wanted = json.loads(json.dumps(settings.to_json()))  # as the meta data went through JSON: a tuple is a list there
    for name in {**wanted, **found}:  # one that another version does not know is different, too
        if name not in found or name not in wanted or found[name] != wanted[name]:
            return f'its {name} was {found.get(name, "not set")}, now it is {wanted.get(name, "no setting")}'
    return None


def _other_frame(generation: Generation, labelled: Sequence[str], unlabelled: Sequence[str]) -> str | None:
    """Return in words the first frame that was labelled, unlabelled or missing when a generation was built, not now."""
    ids, is_labelled = generation.frames['frame_id'], generation.frames['labelled']
    kinds = {'labelled': (ids[is_labelled], labelled), 'unlabelled': (ids[~is_labelled], unlabelled)}
    for kind, (found, wanted) in kinds.items():
        different = np.setxor1d(found, np.array(wanted, np.str_))
        if len(different):
            was, now = ('', 'not ') if different[0] in found else ('not ', '')
            return f'frame {different[0]} was {was}among the {kind} ones, now it is {now}among them'
    return None


def needed_generations(checkpoints: Collection[int], epoch: int, interval: int) -> set[int]:
    """Return the generations that a run needs to go on from its checkpoints.

    A checkpoint needs the generation of the epoch that follows it. If that epoch is the first one of the generation,
    it needs the one before as well: the generation is built from it, unless it is there and still the right one.

    Args:
        checkpoints: Epochs after which there is a checkpoint.
        epoch: Epoch of the run; later checkpoints were left by a run that this one repeats, and are written anew.
        interval: Epochs of a generation.

    >>> needed_generations([3, 6], 8, interval=1), needed_generations([5], 8, interval=2)
    ({2, 3, 5, 6}, {2})
    """
    newest = sorted(done for done in checkpoints if done <= epoch)[-CHECKPOINTS:]
    return set(chain.from_iterable(_needed_after(done, interval) for done in newest))


def _needed_after(epoch: int, interval: int) -> range:
    number, past = divmod(epoch, interval)
    first = number - 1 if number and not past else number
    return range(first, number + 1)
