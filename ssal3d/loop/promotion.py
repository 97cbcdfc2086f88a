"""Which models an experiment goes on with: new ones, unless the guard finds that they fell below the ones before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssal3d.active import ActiveSampler
from ssal3d.log import tell
from ssal3d.loop.guard import Guard, promotion_line
from ssal3d.loop.predicting import Predictor
from ssal3d.loop.steps import Steps
from ssal3d.loop.trained_model import TrainedModel


class Promotions:
    """Compares every queried model, and every final one, with the one that it would replace.

    Args:
        steps: The experiment's steps; each decision is one.
        predictor: Predicts the pool with a model that stays.
        guard: The rule; None promotes everything without a word.

    Attributes:
        start: The model that the experiment begins with: the predecessor of the first ones.
    """

    def __init__(self, steps: Steps, predictor: Predictor, guard: Guard | None) -> None:
        self.steps, self.predictor, self.guard = steps, predictor, guard
        self.start: TrainedModel | None = None
        self._promoted: dict[str, list[TrainedModel]] = {}

    def decide(self, line: str, step: str, models: list[TrainedModel]) -> bool:
        """Return whether the last of some models takes the place of its predecessor.

        Args:
            line: What the models are for, e.g. ``'round'`` or ``'final/final_cpsp'``.
            step: Name of the decision in the journal.
            models: A chain of models; those before the last one go with it.
        """
        before = self._promoted.get(line) or ([self.start] if self.start else None)
        if self.guard is not None and before is not None:
            old, new = ((model.name, self.guard.value(model.name, model.metrics)) for model in (before[-1], models[-1]))
            decision = self.guard.decide(old, new)
            reads = {'values': [old[1], new[1]], 'tolerance': self.guard.tolerance}
            self.steps.do(step, reads, lambda: {'files': {}, **decision}, lambda _: tell(promotion_line(decision)))
            if decision['refused']:
                self._promoted[line] = before
                return False
        self._promoted[line] = models
        return True

    def queried(
        self,
        number: int,
        models: list[TrainedModel],
        labels: Path,
        sampler: ActiveSampler,
        projection: Sequence[str],
    ) -> list[TrainedModel]:
        """Return the models whose predictions a query sees: the round's own, or their predecessors if these are better.

        Args:
            number: Number of the round.
            models: What was trained in the round.
            labels: Label state before the query.
            sampler: Who asks.
            projection: Columns that the query's DontCare rule reads.
        """
        if self.decide('round', f'round_{number}/promotion', models):
            return models
        before = self._promoted['round']
        if sampler.needs_reference and len(before) == 1:
            tell(f'round_{number}: the query compares two models, so it sees those of the round all the same')
            return models
        return [self._kept(number, before, model, labels, sampler, projection) for model in before]

    def _kept(
        self,
        number: int,
        chain: Sequence[TrainedModel],
        model: TrainedModel,
        labels: Path,
        sampler: ActiveSampler,
        projection: Sequence[str],
    ) -> TrainedModel:
        """Return a model of an earlier round with predictions of what is unlabelled now."""
        name = f'round_{number}/kept_{model.stage}'
        inputs = replace(model.inputs, work_dir=self.steps.folder / name, labels=labels)
        kept = replace(model, name=name, inputs=inputs, predictions=None, labelled=None, calibrated=None)
        if model is chain[-1] or (model is chain[0] and sampler.uses_reference):
            last = model is chain[-1]
            columns = (*sampler.required_fields, *projection) if last else sampler.reference_fields
            self.predictor.predict_unlabelled(kept, sampler, list(dict.fromkeys(columns)))
            self.predictor.predict_labelled(kept, sampler)
        return kept
