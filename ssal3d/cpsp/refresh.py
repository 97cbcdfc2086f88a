"""Build the next generation of the box bank from new predictions: the whole refresh, without inference or disk."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.cutting import LoadPoints, check_points, generation_meta, joined_cuts, set_uids
from ssal3d.bank.generation import Generation
from ssal3d.cpsp.background import CHANGES, FrameUpdate, update_labelled, update_unlabelled
from ssal3d.cpsp.settings import CPSPSettings
from ssal3d.cpsp.shard import Shard, pool_shard
from ssal3d.errors import UserError
from ssal3d.predictions import PoolPredictions


def refresh(
    load_points: LoadPoints,
    classes: Sequence[str],
    settings: CPSPSettings,
    *,
    predictions: PoolPredictions | None = None,
    labelled: LabelledObjects | None = None,
    labelled_predictions: PoolPredictions | None = None,
    previous: Generation | None = None,
    provenance: Mapping[str, Any] | None = None,
    shards: int = 1,
    executor: Executor | None = None,
) -> Generation:
    """Return the generation that follows ``previous``.

    Every frame's cloud is loaded once. The result is a function of the arguments alone: the number of shards and the
    kind of executor change no byte. Without ``predictions`` the result is the paste database of the labelled frames.

    Args:
        load_points: Gives the ``(N, C)`` float32 cloud of a frame, the same at every refresh and in training.
        classes: Class names of the bank.
        settings: Settings.
        predictions: All predictions (after NMS) of the unlabelled frames, of any score.
        labelled: Annotated objects of the labelled frames.
        labelled_predictions: Predictions on labelled frames, for ``fp_source='labelled'``, ``min_precision`` and the
            share of true false positives; others are ignored.
        previous: The generation before, None at the first build.
        provenance: More facts for the meta data as JSON values, e.g. ``checkpoint_sha256``; no times, to keep equal
            runs equal.
        shards: Number of ranges the frames are split into.
        executor: Runs the shards: threads, or processes if ``load_points`` can be pickled; None for one by one.

    Raises:
        UserError: If a frame is both labelled and predicted, a class is unknown, a value is not finite, or the frames,
            classes or clouds are not those of ``previous``; the message names the frame.
    """
    pool = pool_shard(tuple(classes), settings, predictions, labelled, labelled_predictions, previous)
    cuts = np.linspace(0, len(pool.frame_ids), max(shards, 1) + 1).astype(int)
    pieces = [pool.part(start, stop) for start, stop in pairwise(cuts)]
    mapping = executor.map if executor else map
    updates = [update for piece in mapping(update_frames, pieces, [load_points] * len(pieces)) for update in piece]
    return generation_of(pool, updates, previous, provenance or {})


def update_frames(shard: Shard, load_points: LoadPoints) -> list[FrameUpdate]:
    """Return the updates of a shard's frames, in order.

    Raises:
        UserError: If a cloud is not what the previous generation saw.
    """
    updates = []
    for row, frame_id in enumerate(shard.frame_ids):
        points = check_points(load_points(frame_id), frame_id)
        if shard.labelled[row]:
            update = update_labelled(points, shard.annotations.of(row), shard.labelled_preds.of(row), shard.rules)
        else:
            update = update_unlabelled(points, shard.preds.of(row), shard.bank.of(row), shard.rules)
        if shard.checksums[row] not in (-1, update.cut.checksum):
            raise UserError(
                f'frame {frame_id}: its {len(points)} points are not those of generation {shard.rules.number - 1}; '
                'load the frames as before, or build the bank from the start'
            )
        set_uids(update.cut.objects, frame_id, shard.classes)
        updates.append(update)
    return updates


def generation_of(
    pool: Shard, updates: Sequence[FrameUpdate], previous: Generation | None, provenance: Mapping[str, Any]
) -> Generation:
    """Join the updates of all frames to a generation.

    Args:
        pool: All frames, see `ssal3d.cpsp.shard.pool_shard`.
        updates: Their updates, in order.
        previous: The generation before.
        provenance: More facts for the meta data.

    Raises:
        UserError: If clouds have different numbers of columns.
    """
    arrays = joined_cuts(pool.frame_ids, pool.labelled, [update.cut for update in updates], pool.preds)
    meta = generation_meta(arrays, pool.classes, pool.rules.number, None if previous is None else previous.number)
    changes = np.sum([update.changes for update in updates], axis=0)
    return Generation(*arrays, {**meta, **_refresh_meta(pool, changes), 'provenance': dict(provenance)})


def _refresh_meta(pool: Shard, changes: NDArray[np.int64]) -> dict[str, Any]:
    """Return the meta data of a refresh: thresholds, settings, and what a log line needs."""
    rules, settings = pool.rules, pool.rules.settings.to_json()
    by_class = [dict(zip(CHANGES, column.tolist())) for column in changes.T]
    checked = [(entry.pop('fp_true'), entry.pop('fp_checked')) for entry in by_class]
    precision = [true / total if total else None for true, total in checked]
    return {
        'tau': {name: tau if math.isfinite(tau) else None for name, tau in zip(pool.classes, rules.tau.tolist())},
        'tau_low': dict(zip(pool.classes, map(float, map(str, rules.tau_low)))),
        'checked': {
            name: {'right': int(right), 'total': int(total)}
            for name, right, total in zip(pool.classes, rules.checked.right, rules.checked.total)
        },
        'changes': dict(zip(pool.classes, by_class)),
        'fp_precision': dict(zip(pool.classes, precision)),
        'settings': settings,
        'settings_sha256': hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        'seed': rules.settings.seed,
    }
