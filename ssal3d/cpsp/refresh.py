"""Build the next generation of the box bank from new predictions: the whole refresh, without inference or disk."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssal3d.bank.annotations import LabelledObjects
from ssal3d.bank.generation import SOURCES, Generation, frame_dtype
from ssal3d.cpsp.background import CHANGES, FrameUpdate, check_points, update_labelled, update_unlabelled
from ssal3d.cpsp.settings import CPSPSettings
from ssal3d.cpsp.shard import Shard, pool_shard
from ssal3d.errors import UserError
from ssal3d.fileio import SCHEMA
from ssal3d.predictions import PoolPredictions
from ssal3d.predictions.schema import BOX_CONVENTION

LoadPoints = Callable[[str], NDArray[np.float32]]


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
        labelled_predictions: Predictions on labelled frames, for ``fp_source='labelled'`` and the share of true false
            positives; others are ignored.
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
    return _assemble(pool, updates, previous, provenance or {})


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
        if shard.checksums[row] not in (-1, update.checksum):
            raise UserError(
                f'frame {frame_id}: its {len(points)} points are not those of generation {shard.rules.number - 1}; '
                'load the frames as before, or build the bank from the start'
            )
        for entry in update.objects:
            entry['uid'] = _uid(frame_id, entry, shard.classes)
        updates.append(update)
    return updates


def _uid(frame_id: str, entry: np.void, classes: tuple[str, ...]) -> int:
    """Return a 63-bit hash of what an object is: the same object has the same uid in every generation."""
    name = f'{frame_id}|{classes[entry["label"]]}|{SOURCES[entry["source"]]}|'
    digest = hashlib.blake2b(name.encode() + entry['box'].tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, 'little') >> 1


def _assemble(
    pool: Shard, updates: list[FrameUpdate], previous: Generation | None, provenance: Mapping[str, Any]
) -> Generation:
    """Join the frames' updates to a generation."""
    channels = updates[0].points.shape[1]
    for frame_id, update in zip(pool.frame_ids, updates):
        if update.points.shape[1] != channels:
            raise UserError(
                f'frame {frame_id}: load_points returned {update.points.shape[1]} columns, expected {channels} as in '
                f'frame {pool.frame_ids[0]}'
            )
    objects = np.concatenate([update.objects for update in updates])
    objects['frame'] = np.repeat(np.arange(len(updates)), [len(update.objects) for update in updates])
    objects['offset'] = _starts(objects['n_pts'])
    frames = np.zeros(len(updates), frame_dtype(max(map(len, pool.frame_ids))))
    frames['frame_id'], frames['labelled'] = pool.frame_ids, pool.labelled
    frames['n_points'] = [update.num_points for update in updates]
    frames['checksum'] = [update.checksum for update in updates]
    frames['mask_offset'] = _starts(np.array([len(update.mask) for update in updates]))
    frames['pred_offset'] = pool.preds.offsets[:-1]
    return Generation(
        objects,
        np.concatenate([update.points for update in updates]),
        frames,
        np.concatenate([update.mask for update in updates]),
        pool.preds.values,
        _meta(pool, objects, np.sum([update.changes for update in updates], axis=0), channels, previous, provenance),
    )


def _starts(sizes: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.cumsum(sizes, dtype=np.int64) - sizes


def _meta(
    pool: Shard,
    objects: NDArray,
    changes: NDArray[np.int64],
    channels: int,
    previous: Generation | None,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the meta data: thresholds, settings, and what a log line needs."""
    rules, settings = pool.rules, pool.rules.settings.to_json()
    counts = [
        {source: int(((objects['label'] == k) & (objects['source'] == s)).sum()) for s, source in enumerate(SOURCES)}
        for k in range(len(pool.classes))
    ]
    by_class = [dict(zip(CHANGES, column.tolist())) for column in changes.T]
    checked = [(entry.pop('fp_true'), entry.pop('fp_checked')) for entry in by_class]
    precision = [true / total if total else None for true, total in checked]
    return {
        'schema': SCHEMA,
        'generation': rules.number,
        'parent': None if previous is None else previous.number,
        'classes': list(pool.classes),
        'box': BOX_CONVENTION,
        'channels': channels,
        'tau': {name: tau if math.isfinite(tau) else None for name, tau in zip(pool.classes, rules.tau.tolist())},
        'tau_low': dict(zip(pool.classes, map(float, map(str, rules.tau_low)))),
        'objects': dict(zip(pool.classes, counts)),
        'changes': dict(zip(pool.classes, by_class)),
        'fp_precision': dict(zip(pool.classes, precision)),
        'frames': {'labelled': int(pool.labelled.sum()), 'unlabelled': int((~pool.labelled).sum())},
        'settings': settings,
        'settings_sha256': hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        'seed': rules.settings.seed,
        'provenance': dict(provenance),
    }
