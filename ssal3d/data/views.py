"""Views of a pool: the labelled frames, and the unlabelled ones without anything that an annotator would know.

Both read the data set's annotation file themselves, choose their frames, remove the annotations of frames that nobody
bought, and only then let the data set parse what is left. No statistic, log line or random choice of the data set can
depend on an annotation that was not paid for.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.datasets import Det3DDataset
from mmdet3d.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ssal3d.data.boxes import to_gravity_array
from ssal3d.data.frames import check_classes, fill, read_dataset_infos
from ssal3d.data.infos import check_instances, frame_id, frame_ids, without_annotations
from ssal3d.data.label_state import LabelState
from ssal3d.data.labelled import check_counts
from ssal3d.data.scans import read_scan
from ssal3d.errors import UserError
from ssal3d.fileio import read_text
from ssal3d.log import tell
from ssal3d.spelling import meant

Infos = dict[str, Any]


class FrameView(Dataset):
    """Some frames of a data set, in the order of the data set; the base of both views.

    Args:
        dataset: Config of a `Det3DDataset`, or one that is built. A built one is copied, never changed; build it with
            ``lazy_init=True``, or it has already logged how many boxes the whole pool has.
    """

    def __init__(self, dataset: dict | Det3DDataset) -> None:
        self._config = dataset
        self._dataset: Det3DDataset | None = None
        self._frame_ids: list[str] = []
        self._fully_initialized = False

    @property
    def dataset(self) -> Det3DDataset:
        """The inner data set; it holds the frames of the view only, once `full_init` has run."""
        if self._dataset is None:
            self._dataset, self._config = _build_lazily(self._config), {}  # a built one may hold every label
            self._dataset.filter_empty_gt = False  # a frame without objects is data, not a reason to draw another
            self._prepare(self._dataset)
        return self._dataset

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and everything else that the data set says about itself."""
        return self.dataset.metainfo

    @property
    def pipeline(self) -> Compose:
        """The data set's transforms."""
        return self.dataset.pipeline

    @property
    def frame_ids(self) -> list[str]:
        """Ids (stems of the LiDAR file names) of the view's frames, in order."""
        self.full_init()
        return list(self._frame_ids)

    def full_init(self) -> None:
        """Read the annotation file, choose the frames and parse them. Runs by itself at the first use.

        Raises:
            UserError: If the data is missing or does not belong to the labels.
        """
        if self._fully_initialized:
            return
        infos = read_dataset_infos(self.dataset)
        frames = self._choose(infos)
        self._frame_ids = [frame_id(info) for info in frames]
        fill(self.dataset, {'metainfo': infos['metainfo'], 'data_list': frames})
        self._fully_initialized = True
        tell(
            f'  {type(self).__name__}: {len(frames)} of {len(infos["data_list"])} frames{self._note()}', terminal=False
        )

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return a sample as the pipeline gets it; changing it changes nothing in the view."""
        self.full_init()
        sample = self.dataset.get_data_info(index)
        sample['frame_id'] = self._frame_ids[index]
        sample['box_type_3d'], sample['box_mode_3d'] = self.dataset.box_type_3d, self.dataset.box_mode_3d
        return sample

    def load_points(self, index: int) -> NDArray[np.float32]:
        """Return a frame's points ``(N, F)``: x, y, z in metres, intensity and what else the scan holds.

        Raises:
            UserError: If the scan is missing, empty or ends inside a point.
        """
        lidar = self.get_data_info(index)['lidar_points']
        return read_scan(lidar['lidar_path'], lidar.get('num_pts_feats', 4), self.dataset.backend_args)

    def __len__(self) -> int:
        self.full_init()
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Run the pipeline on a frame; there is no silent replacement by another frame."""
        sample = self.pipeline(self.get_data_info(index))
        if sample is None:
            raise RuntimeError(
                f'the pipeline returned nothing for frame {self._frame_ids[index]}; a transform must not drop frames'
            )
        return sample

    def _prepare(self, dataset: Det3DDataset) -> None:
        """Set up the built, still empty data set."""

    def _choose(self, infos: Infos) -> list[dict[str, Any]]:
        """Return the entries of the view's frames."""
        raise NotImplementedError

    def _note(self) -> str:
        return ''


@DATASETS.register_module()
class LabelledView(FrameView):
    """Exactly the labelled frames of a pool, with their annotations, in the order of the data set.

    A labelled frame without objects stays: it is training data, and whatever the data set says of ``filter_empty_gt``
    does not apply. The annotation file must hold the boxes that the label state counts: a frame whose labels came after
    the conversion would otherwise be learnt as empty.

    A sample has ``obstacles``, ``(K, 7)`` gravity-centred boxes of annotated objects whose class is not trained (Van,
    ...).

    Args:
        dataset: Config of a `Det3DDataset` (or one that is built) for the whole pool.
        labels: A label state or the path of one.
    """

    def __init__(self, dataset: dict | Det3DDataset, labels: str | Path | LabelState) -> None:
        super().__init__(dataset)
        self._labels = labels
        self._obstacles: dict[int, NDArray[np.float32]] = {}

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return a sample as the pipeline gets it, with ``obstacles``."""
        sample = super().get_data_info(index)
        if index not in self._obstacles:
            boxes, names, _ = self._every_object(self._parser(), sample)
            self._obstacles[index] = boxes[~np.isin(names, self.metainfo['classes'])]
        return sample | {'obstacles': self._obstacles[index].copy()}

    def get_cat_ids(self, index: int) -> set[int]:
        """Return the labels in a frame, for samplers that balance classes."""
        self.full_init()
        return self.dataset.get_cat_ids(index)

    def annotated_objects(self) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.str_], NDArray[np.bool_]]]:
        """Yield every annotated object by frame, those of neighbour classes (Van, ...) included.

        Yields:
            Frame id, ``(k, 7)`` gravity-centred boxes, ``(k,)`` class names, ``(k,)`` whether a box may be pasted: all
            but those whose KITTI difficulty is unknown.
        """
        self.full_init()
        parser = self._parser()
        for index, name in enumerate(self.frame_ids):
            yield name, *self._every_object(parser, super().get_data_info(index))

    def _parser(self) -> Det3DDataset:
        """Return the data set as one that knows every class of its annotation file, not only the trained ones."""
        classes = self.dataset.METAINFO['classes']
        parser = copy.copy(self.dataset)
        parser.label_mapping = {label: label for label in range(-1, len(classes))}
        parser.num_ins_per_cat = [0] * len(classes)
        return parser

    @staticmethod
    def _every_object(
        parser: Det3DDataset, sample: dict[str, Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.bool_]]:
        """Return boxes, class names and whether a box may be pasted, of every annotated object of a frame."""
        annotations = parser.parse_ann_info(sample)
        boxes = to_gravity_array(annotations['gt_bboxes_3d'])
        usable = np.asarray(annotations.get('difficulty', np.zeros(len(boxes)))) >= 0
        return boxes, np.array(parser.METAINFO['classes'])[annotations['gt_labels_3d']], usable

    def _choose(self, infos: Infos) -> list[dict[str, Any]]:
        state = _state(self._labels, infos)
        bought = set(state.frame_ids)
        chosen = [info for info in infos['data_list'] if frame_id(info) in bought]
        for info in chosen:
            if 'instances' not in info:
                raise UserError(
                    f'{self.dataset.ann_file}: frame {frame_id(info)} is in the label state but has no annotations; '
                    'convert the data again with its label file'
                )
        check_instances(self.dataset.ann_file, chosen)
        check_counts(state, {**infos, 'data_list': chosen}, self.dataset.ann_file)
        return chosen

    def _note(self) -> str:
        counts = zip(self.metainfo['classes'], self.dataset.num_ins_per_cat, strict=True)
        return '; boxes: ' + ', '.join(f'{name} {count}' for name, count in counts)


@DATASETS.register_module()
class UnlabelledView(FrameView):
    """Frames of a pool with their sensors' data only: points, calibration, image shape, road plane.

    Args:
        dataset: Config of a `Det3DDataset` (or one that is built) for the whole pool. Its pipeline must not load
            annotations; there are none.
        labels: A label state or the path of one; its frames are left out.
        frames: Restrict the view to these frame ids, or to those in a text file, one a line.
        include_labelled: Keep the labelled frames; they lose their annotations like the others.
        keep: Keys of the annotation file to keep besides the sensors' (`ssal3d.data.infos.SENSOR_KEYS`).
    """

    def __init__(
        self,
        dataset: dict | Det3DDataset,
        labels: str | Path | LabelState | None = None,
        frames: str | Path | Iterable[str] | None = None,
        include_labelled: bool = False,
        keep: Iterable[str] = (),
    ) -> None:
        super().__init__(dataset)
        self._labels = labels
        self._frames = frames if frames is None or isinstance(frames, str | Path) else tuple(frames)
        self._include_labelled = include_labelled
        self._keep = tuple(keep)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return a sample as the pipeline gets it.

        Raises:
            RuntimeError: If an annotation slipped in.
        """
        sample = super().get_data_info(index)
        leaked = [key for key in sample if key.startswith(('gt_', 'ann', 'eval_ann')) or 'instances' in key]
        if leaked:
            raise RuntimeError(f'ground truth in unlabelled frame {sample["frame_id"]}: key {leaked[0]!r}')
        return sample

    def _prepare(self, dataset: Det3DDataset) -> None:
        # In this mode MMDetection3D parses no annotations, not even an empty list of them.
        dataset.test_mode, dataset.load_eval_anns = True, False

    def _choose(self, infos: Infos) -> list[dict[str, Any]]:
        chosen = _wanted(self._frames, infos)
        if self._labels is not None:
            state = _state(self._labels, infos)
            chosen = chosen if self._include_labelled else chosen - set(state.frame_ids)
        return [without_annotations(info, self._keep) for info in infos['data_list'] if frame_id(info) in chosen]


def points_loader(*views: FrameView) -> Callable[[str], NDArray[np.float32]]:
    """Return a function that loads the points of a frame of any of these views, see `FrameView.load_points`."""
    where = {name: (view, index) for view in views for index, name in enumerate(view.frame_ids)}

    def load(name: str) -> NDArray[np.float32]:
        view, index = where[name]
        return view.load_points(index)

    return load


def _build_lazily(dataset: dict | Det3DDataset) -> Det3DDataset:
    """Return a data set of the same settings that has not read its annotation file."""
    if isinstance(dataset, dict):
        kind = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else dataset.get('type')
        metainfo = getattr(kind, 'METAINFO', {})
        if 'classes' in metainfo:
            check_classes(dataset.get('metainfo'), metainfo['classes'])
        scope = DefaultScope.get_current_instance()  # none outside a Runner; the transforms' names need one
        with DefaultScope.overwrite_default_scope(None if scope else 'mmdet3d'):
            built = DATASETS.build({**dataset, 'lazy_init': True})
    else:
        built = dataset
    if not isinstance(built, Det3DDataset):
        raise UserError(
            f'found a {type(built).__name__} in a view, expected one MMDetection3D data set; put RepeatDataset and '
            'ConcatDataset around the view'
        )
    if built is dataset:
        built = built._copy_without_annotation({})
        built._fully_initialized, built.data_list = False, []
        built.num_ins_per_cat = [0] * len(built.num_ins_per_cat)
    return built


def _state(labels: str | Path | LabelState, infos: Infos) -> LabelState:
    """Return the label state after checking that it belongs to the pool."""
    state = labels if isinstance(labels, LabelState) else LabelState.read(labels)
    source, pool = 'label state' if state is labels else str(labels), frame_ids(infos)
    try:
        state.check_pool(pool)
    except UserError as error:
        raise UserError(f'{source}: {error}') from None
    _known(state.frame_ids, pool, source)
    return state


def _wanted(frames: str | Path | tuple[str, ...] | None, infos: Infos) -> set[str]:
    pool = frame_ids(infos)
    if frames is None:
        return set(pool)
    if isinstance(frames, tuple):
        return _known(frames, pool, 'frames')
    listed = read_text(frames, 'expected frame ids, one a line').split()
    if not listed:
        raise UserError(f'{frames}: found no frame id, expected one a line')
    return _known(listed, pool, str(frames))


def _known(frames: Iterable[str], pool: list[str], source: str) -> set[str]:
    pool_ids = set(pool)
    for frame in frames:
        if frame not in pool_ids:
            raise UserError(
                f'{source}: frame {frame} is not among the {len(pool)} frames of the data set{meant(frame, pool)}'
            )
    return set(frames)
