"""The config under examination, and where its parts are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssal3d.checks.tree import at, mappings, numbers
from ssal3d.errors import UserError
from ssal3d.loop.chains import order_stages

VOXELS = 'model.data_preprocessor.voxel_layer'
PIPELINES = ('labelled_pipeline', 'pseudo_pipeline', 'student_pipeline', 'test_pipeline')
DATA = ('pool_dataset', 'train_dataloader', 'val_dataloader', 'test_dataloader')
LOOP = 'ActiveLearningLoop'


@dataclass(frozen=True)
class Subject:
    """A resolved config as plain dictionaries.

    Attributes:
        config: All of it; what a command line changed is in it.
        earlier: Top-level values before that: of the files that the config inherits from, oldest first, and of the
            file itself.
        unused: Top-level names that these files set and never use, see `ssal3d.checks.unused_names`.
    """

    config: Mapping[str, Any]
    earlier: tuple[Mapping[str, Any], ...] = ()
    unused: frozenset[str] = frozenset()

    @property
    def is_experiment(self) -> bool:
        """Whether the config is an experiment of several stages, not one run."""
        return at(self.config, 'train_cfg.type') == LOOP

    @property
    def model(self) -> Mapping[str, Any]:
        """The detector's config, without a semi-supervised method around it."""
        return at(self.config, f'{self.model_key}', {})

    @property
    def model_key(self) -> str:
        """Where the detector's config stands."""
        return 'model.detector' if isinstance(at(self.config, 'model.detector'), Mapping) else 'model'

    @property
    def classes(self) -> list[str]:
        """The class names of the data set; empty if the config does not list them."""
        for path, data in self.data_sets():
            names = at(data, 'metainfo.classes')
            if isinstance(names, Sequence) and not isinstance(names, str) and (path or names):
                return list(names)
        return []

    @property
    def limits(self) -> list[float] | None:
        """The range of the detector's voxels, m; None if it has none."""
        return numbers(at(self.config, f'{VOXELS}.point_cloud_range'), 6)

    @property
    def voxel_size(self) -> list[float] | None:
        """The size of the detector's voxels, m."""
        return numbers(at(self.config, f'{VOXELS}.voxel_size'), 3)

    @property
    def cells(self) -> list[float] | None:
        """Voxels along x, y and z; not whole if range and size do not agree."""
        if self.limits is None or self.voxel_size is None or min(self.voxel_size) <= 0:
            return None
        return [(self.limits[axis + 3] - self.limits[axis]) / self.voxel_size[axis] for axis in range(3)]

    def data_sets(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the configs of the data sets, with their keys; the pool comes first."""
        return [
            (path, found)
            for name in DATA
            for path, found in mappings(self.config.get(name), name)
            if 'ann_file' in found and 'type' in found
        ]

    def pipelines(self) -> list[tuple[str, Sequence[Any]]]:
        """Return every pipeline that prepares samples, with its key."""
        named = [(name, self.config[name]) for name in PIPELINES if isinstance(self.config.get(name), list | tuple)]
        inside = [
            (f'{path}.pipeline', found['pipeline'])
            for name in DATA
            for path, found in mappings(self.config.get(name), name)
            if isinstance(found.get('pipeline'), list | tuple)
        ]
        return named + inside

    @cached_property
    def used_stages(self) -> dict[str, Mapping[str, Any]]:
        """The stages that the experiment trains, by name, those of the final training included."""
        if not self.is_experiment:
            return {}
        rounds = self.config['train_cfg'].get('rounds') or ()
        chains = [*([entry.get('pretrain', ())] for entry in rounds), self.config['train_cfg'].get('final') or ()]
        try:
            names = dict.fromkeys(place.name for chain in chains for place in order_stages(chain))
        except UserError:  # `check_stages` says what is wrong with the chains
            return {}
        stages = self.config.get('stages') or {}
        return {name: stages[name] for name in names if isinstance(stages.get(name), Mapping)}
