"""Whether the experiment's detector can do what stages and samplers ask of it, before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet3d.models.detectors import PointVoxelRCNN
from mmdet3d.registry import MODELS
from mmengine.config import Config

from ssal3d.errors import UserError
from ssal3d.loop.chains import plan
from ssal3d.loop.querying import build_sampler, settings_of
from ssal3d.models.extraction import Extraction, check_extraction
from ssal3d.stages.supervised import SupervisedStage


def check_abilities(config: Config, rounds: Sequence[Mapping[str, Any]], stages: Mapping[str, SupervisedStage]) -> None:
    """Refuse an experiment whose detector lacks something.

    Args:
        config: The experiment's config.
        rounds: Its rounds.
        stages: The stages of rounds and final training by name.

    Raises:
        UserError: If a stage learns from RoIs and the detector has none, or a sampler reads a column that the detector
            of the round's last stage does not give.
    """
    detector = MODELS.get(config.model.type)
    for name, stage in stages.items():
        if stage.needs_rois and not issubclass(detector, PointVoxelRCNN):
            raise UserError(
                f"stage '{name}' ({type(stage).__name__}) learns from the RoIs of a PV-RCNN, but {detector.__name__} is "
                'no such detector; use one, or stages of the types SupervisedStage and CPSPStage'
            )
    for number, entry in enumerate(rounds, 1):
        sampler = build_sampler(config, entry)
        last = stages[plan([entry['pretrain']])[-1].name]
        projection = settings_of(config, entry, number).projection_fields
        columns = {*sampler.required_fields, *projection, *sampler.labelled_fields} - {*sampler.optional_fields}
        queried = detector if last.leaves is None else MODELS.get(last.leaves)
        check_extraction(queried, Extraction.of(columns, sampler.extraction))
