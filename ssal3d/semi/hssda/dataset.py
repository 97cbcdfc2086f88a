"""The training data of HSSDA: one pass over all frames, the labelled ones with and the others without annotations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet3d.datasets.transforms import Pack3DDetInputs
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData

from ssal3d.bank.paste import Scene, paste_objects
from ssal3d.bank.transforms import PasteObjects
from ssal3d.data.boxes import to_gravity_array, to_lidar_boxes
from ssal3d.data.determinism import SeededRepeatDataset, seeded_globals
from ssal3d.semi.hssda.label_store import LabelStore, label_rows

LABELLED, UNLABELLED = 'labelled', 'unlabelled'  # branches of a batch
META_KEYS = ('box_type_3d', 'box_mode_3d', 'sample_idx', 'frame_id')


@FUNCTIONS.register_module()
def collate_branches(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collate samples that have different branches; a branch that none has is missing.

    Args:
        samples: What the data set gave, by branch.

    >>> collate_branches([{'labelled': {'a': 1}}, {'unlabelled': {'a': 2}}, {'labelled': {'a': 3}}])
    {'labelled': {'a': [1, 3]}, 'unlabelled': {'a': [2]}}
    """
    names = sorted({name for sample in samples for name in sample})
    return {name: pseudo_collate([sample[name] for sample in samples if name in sample]) for name in names}


@TRANSFORMS.register_module()
class PasteCandidates(PasteObjects):
    """Draws objects that the detector pastes wherever the labels that it finds leave room.

    They touch no label of the frame and no other candidate. Arguments are those of `PasteObjects`.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``candidates`` (boxes, labels) and ``candidate_points`` (points, the candidate that each belongs to).

        Args:
            results: Sample with points, stored boxes and their labels; none of them is changed.
        """
        generation, columns = self.bank.open(), results['points'].tensor.shape[1]
        classes, truth = np.array(generation.classes), to_gravity_array(results['gt_bboxes_3d'])
        nothing = np.empty((0, columns), np.float32)
        scene = Scene(nothing, truth, classes[results['gt_labels_3d']])
        rng = np.random.default_rng(np.random.randint(2**31, size=4))  # noqa: NPY002
        plane = results.get('plane') if self.use_ground_plane else None
        scene = paste_objects(scene, generation, self.settings, rng, plane)
        drawn = scene.uids[len(truth) :]
        order = np.argsort(generation.objects['uid'])
        rows = order[np.searchsorted(generation.objects['uid'], drawn, sorter=order)]
        counts = generation.objects['n_pts'][rows].astype(np.int64)
        results['candidates'] = InstanceData(
            boxes=torch.from_numpy(scene.boxes[len(truth) :].astype(np.float32)),
            labels=torch.from_numpy(generation.objects['label'][rows].astype(np.int64)),
        )
        results['candidate_points'] = InstanceData(
            points=torch.from_numpy(scene.points), owner=torch.from_numpy(np.repeat(np.arange(len(rows)), counts))
        )
        return results


@DATASETS.register_module()
class PoolSemiDataset(SeededRepeatDataset):
    """Goes once through all frames: ``{'labelled': ...}`` or ``{'unlabelled': ...}``, as `Pack3DDetInputs` packs them.

    A labelled frame is augmented as in supervised training. An unlabelled one comes as recorded, with the labels mined
    so far as ``gt_instances_3d``, those of the middle level that the last mining stored as ``mined_mid`` and candidates
    for pasting; what depends on the teacher happens in the detector. All of it is a function of (seed, epoch, index)
    and of the mined labels. There are none before `set_generation`.

    Args:
        labelled: View of the labelled frames with their training pipeline, or its config.
        unlabelled: View of the others whose pipeline loads the points and no more, or its config.
        store: Folder of the `LabelStore`.
        paste: Config of `PasteCandidates`; None for no pasting into unlabelled frames.
        repeat: How often an epoch goes through all frames.
        seed: Seed of all randomness.
        length: As for `SeededRepeatDataset`.
    """

    def __init__(
        self,
        labelled: Any,
        unlabelled: Any,
        store: str | Path,
        paste: Mapping[str, Any] | None = None,
        repeat: int = 1,
        seed: int = 0,
        length: int | None = None,
    ) -> None:
        super().__init__(labelled, repeat, seed, length)
        self.unlabelled = DATASETS.build(unlabelled) if isinstance(unlabelled, dict) else unlabelled
        self.folder = Path(store)
        self.paste = None if paste is None else TRANSFORMS.build(dict(paste))
        self.pack = Pack3DDetInputs(('points', 'gt_bboxes_3d', 'gt_labels_3d'), META_KEYS)
        # Shared memory, as for the epoch; workers keep the generation open that they read last.
        self._generation = torch.full((1,), -1, dtype=torch.int64).share_memory_()
        self._opened: tuple[int, LabelStore] | None = None

    @property
    def frames(self) -> int:
        """Number of frames, labelled and unlabelled."""
        return len(self.dataset) + len(self.unlabelled)

    def set_generation(self, generation: int) -> None:
        """Choose the mined labels of the samples that follow, by the number of the store's generation."""
        self._generation[0] = generation

    def __getitem__(self, index: int) -> dict[str, Any]:
        position = self.position(index) - len(self.dataset)
        if position < 0:
            return {LABELLED: super().__getitem__(index)}
        frame = self.unlabelled[position]
        rows, mid = self._mined(frame['frame_id'])
        frame['gt_bboxes_3d'], frame['gt_labels_3d'] = (
            to_lidar_boxes(rows['box'].copy()),
            rows['label'].astype(np.int64),
        )
        if self.paste is not None:
            with seeded_globals(self.seed, int(self._epoch), index):
                frame = self.paste.transform(frame)
        packed = self.pack.transform(frame)
        sample = packed['data_samples']
        sample.gt_instances_3d.weights = torch.from_numpy(rows['weight'].astype(np.float32))
        boxes, labels, scores, weights = (
            torch.from_numpy(mid[name].copy()) for name in ('box', 'label', 's', 'weight')
        )
        sample.mined_mid = InstanceData(boxes=boxes, labels=labels.long(), scores=scores, weights=weights)
        for name in ('candidates', 'candidate_points'):
            if name in frame:
                setattr(sample, name, frame[name])
        return {UNLABELLED: packed}

    def _mined(self, frame_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of an unlabelled frame, and those of the middle level."""
        generation = int(self._generation)
        if generation < 0:
            nothing = label_rows(np.empty((0, 7)), np.empty(0))
            return nothing, nothing
        if self._opened is None or self._opened[0] != generation:
            self._opened = generation, LabelStore(self.folder, generation)
        store = self._opened[1]
        return store.labels_of(frame_id), store.mid_of(frame_id)
