"""Whether the experiment's detector can do what stages and samplers ask of it, before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet3d.registry import MODELS
from mmengine.config import Config

from ssal3d.active.sampler import ActiveSampler
from ssal3d.errors import UserError, unknown_name
from ssal3d.loop.chains import order_stages
from ssal3d.loop.querying import build_sampler, settings_of
from ssal3d.models.extraction import Extraction, check_extraction
from ssal3d.models.protocol import ABILITIES, lacking
from ssal3d.stages.supervised import SupervisedStage


def check_abilities(config: Config, rounds: Sequence[Mapping[str, Any]], stages: Mapping[str, SupervisedStage]) -> None:
    """Refuse an experiment whose detector lacks something.

    Args:
        config: The experiment's config.
        rounds: Its rounds.
        stages: The stages of rounds and final training by name.

    Raises:
        UserError: If a stage needs something that the detector does not give, or a sampler reads a column that the
            detector of the round's last stage does not give.
    """
    detector = detector_class(config.model.type)
    for name, stage in stages.items():
        check_stage(name, stage, detector)
    for number, entry in enumerate(rounds, 1):
        last = stages[order_stages([entry['pretrain']])[-1].name]
        queried = detector if last.leaves is None else detector_class(last.leaves)
        check_sampler(build_sampler(config, entry), queried, settings_of(config, entry, number).projection_fields)


def detector_class(name: str | type) -> type:
    """Return a registered detector; a class stands for itself.

    Raises:
        UserError: If there is none of this name.
    """
    kind = name if isinstance(name, type) else MODELS.get(name)
    if kind is None:
        raise unknown_name('model', str(name), sorted(MODELS.module_dict))
    return kind


def check_stage(name: str, stage: SupervisedStage, detector: type) -> None:
    """Refuse a stage that needs something of the detector that it does not give.

    Args:
        name: Name of the stage in the config.
        stage: Says in ``needs`` what it needs.
        detector: Class of the detector.

    Raises:
        UserError: If it does.
    """
    missing = lacking(detector, stage.needs)
    if missing is not None:
        gives = ', '.join(sorted(getattr(detector, 'teaches', ()))) or 'nothing of the kind'
        raise UserError(
            f"stage '{name}' ({type(stage).__name__}) learns from '{missing}', {ABILITIES[missing].meaning}, but "
            f'{detector.__name__} gives {gives}; use ActivePointVoxelRCNN, or stages of the types SupervisedStage and '
            'CPSPStage'
        )
    if stage.leaves is not None and not issubclass(detector_class(stage.leaves), detector):
        bases = [base.__name__ for base in detector_class(stage.leaves).__mro__[1:] if 'teaches' in vars(base)]
        raise UserError(
            f"stage '{name}' ({type(stage).__name__}) makes a {stage.leaves} of the detector, which must be a "
            f'{bases[0]}, but it is a {detector.__name__}; leave the stage out'
        )


def check_sampler(sampler: ActiveSampler, detector: type, projection: Sequence[str] = ()) -> None:
    """Refuse a sampler that reads what a detector does not give.

    Args:
        sampler: Its fields say what it reads.
        detector: Class of the detector whose predictions it reads.
        projection: Columns that the query's DontCare rule reads.

    Raises:
        UserError: If it does.
    """
    columns = {*sampler.required_fields, *projection, *sampler.labelled_fields} - {*sampler.optional_fields}
    check_extraction(detector, Extraction.of(columns, sampler.extraction))
