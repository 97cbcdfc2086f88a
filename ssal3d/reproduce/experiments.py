"""The experiment of a row and a seed: its config, its folder, the steps that it shares with others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ssal3d.config_text import config_text
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.loop.summary import METRICS
from ssal3d.reproduce.data_sets import DataSet
from ssal3d.reproduce.rows import DEFAULT_VARIANTS, FIG_6, NO_FINAL, NOTHING_OF_CAL, Row

PRETRAIN = {
    'Normal': ['normal'],
    'CPSP': ['normal', 'cpsp'],
    '3DIoUMatch': ['normal', 'threedioumatch'],
    'Joint3D': ['normal', 'joint3d'],
    'NAL': ['normal', 'nal'],
    'HSSDA': ['normal', 'hssda'],
}
FINAL = {
    'supervised': ['supervised'],
    'longer': ['supervised', 'longer'],
    'CPSP': ['supervised', 'final_cpsp'],
    'HSSDA': ['supervised', 'hssda'],
    NO_FINAL: [],
}
EVERYTHING = 10**9  # boxes: a budget for all labels
NEVER = 10_000  # epochs between two refreshes


@dataclass(frozen=True)
class Experiment:
    """A row with a seed.

    Attributes:
        row: The row.
        seed: Seed of the run, and number of its pool on simulated streets.
        folder: Its work dir.
        data: Its data set.
        options: The user's changes to its config, ``KEY=VALUE``.
    """

    row: Row
    seed: int
    folder: Path
    data: DataSet
    options: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        """Its config file, beside its folder."""
        return self.folder.with_name(f'{self.folder.name}.py')

    @property
    def steps(self) -> dict[str, str]:
        """Name in the journal of each training, prediction and query by what it is.

        Two experiments of one seed have equal keys where they do the same.
        """
        if self.row.pretrain == 'Full':
            return {'Full': 'final/supervised'}
        chain, final = PRETRAIN[self.row.pretrain], FINAL[self.row.final]
        variant = '' if self.row.variant in (*DEFAULT_VARIANTS, NOTHING_OF_CAL) else self.row.variant
        if self.row.rounds > 1:
            variant = ''  # the first rounds are those of experiments with fewer
        in_training, in_query = ('', variant) if self.row.changes_the_query else (variant, '')
        steps, before = {}, ''
        for number in range(1, self.row.rounds + 1):
            for end, stage in enumerate(chain, start=1):
                model = ' '.join(filter(None, ('/'.join(chain[:end]), in_training * (end > 1), before)))
                steps[f'train {model}'] = f'round_{number}/{stage}'
            steps[f'predict {model}'] = f'round_{number}/predictions_{chain[-1]}'
            query = f'{self.row.sampler} {in_query} after {model}'
            steps[f'query {query}'] = f'round_{number}/query'
            group = 'final' if number == self.row.rounds else f'final_{number}'
            if group == 'final' or self.row.table == FIG_6:
                for end, stage in enumerate(final, start=1):
                    steps[f'{group} {"/".join(final[:end])} {query}'] = f'{group}/{stage}'
            before = f'with {query}'
        return steps

    def config_text(self) -> str:
        """Return the config: a few lines on top of what all rows share."""
        settings: dict[str, Any] = {'randomness': {'seed': self.seed}}
        if self.row.pretrain == 'Full':
            settings['train_cfg'] = {
                'initial': {'query': {'budget': EVERYTHING}},
                'rounds': [],
                'final': ['supervised'],
            }
        else:
            entry: dict[str, Any] = {'pretrain': PRETRAIN[self.row.pretrain]}
            if self.row.budget_factor > 1:
                entry['query'] = {'budget': self.row.budget_factor * usual_budget(self.data.config)}
            settings['train_cfg'] = {'rounds': [entry] * self.row.rounds, 'final': FINAL[self.row.final]}
            if self.row.table == FIG_6:
                settings['train_cfg']['final_every_round'] = True
            if self.row.sampler != 'CAL':
                settings['active_sampler'] = f'ssal3d::active/{self.row.sampler.lower()}_{self.data.samplers}.py'
            for key, value in variant_settings(self.row).items():
                settings[key] = {**settings.get(key, {}), **value}
        lines = [f'"""{self.row.experiment}, seed {self.seed}."""', '', f"_base_ = '{self.data.config}'", '']
        lines += [f'{key} = {value!r}' for key, value in settings.items()]
        # They come with the command, which can change parts of lists; here they tell the experiment from the row's own.
        lines += [f'# --cfg-options {list(self.options)}'] if self.options else []
        sampler = settings.get('active_sampler')
        bases = [self.data.config, *([sampler] if isinstance(sampler, str) else [])]
        lines += [f'# what it inherits: {" ".join(map(settings_digest, bases))}']
        return '\n'.join(lines) + '\n'


@cache
def settings_digest(config: str) -> str:
    """Return a digest of all settings of a config, so that a run with others is told from it."""
    settings = config_text(read_config(config, custom_imports=False).to_dict())
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


@cache
def usual_budget(config: str) -> int:
    """Return the boxes that a query of a config buys."""
    return int(read_config(config, custom_imports=False).query.budget)


def variant_settings(row: Row) -> Mapping[str, Any]:
    """Return what the variant of a row changes in CPSP, CAL or the scores that CAL sees.

    Raises:
        UserError: If its variant is unknown.
    """
    words = dict(word.split('=') for word in row.variant.split())
    if set(words) == {'scores'}:
        return {'train_cfg': {'score_calibration': {'method': words['scores']}}}
    if not words or 'rounds' in words:
        return {}
    given = {key: int(value) for key, value in words.items()}
    if set(given) == {'ITER', 'DEL', 'FP'}:
        changed: dict[str, Any] = {}
        if not given['ITER']:
            changed['interval'] = NEVER
        if not given['DEL']:
            changed['bank'] = {'del_after': 255}
        none = {'false_positives': dict.fromkeys(('Car', 'Pedestrian', 'Cyclist'), 0)} if not given['FP'] else {}
        return {'stages': {name: {**changed, **none} for name in ('cpsp', 'final_cpsp')}} if changed or none else {}
    if set(given) == {'centres'}:
        centres = {'bank': {'k_first': given['centres'], 'k_next': given['centres']}}
        return {'stages': {'cpsp': centres, 'final_cpsp': centres}} if given['centres'] != 20 else {}
    if set(given) == {'CBS', 'E2_Unc', 'B_Div'}:
        if not given['CBS']:
            return {}  # the random query
        changed = {} if given['E2_Unc'] else {'entropy': 'none'}
        changed |= {} if given['B_Div'] else {'t_sim': 2.0}  # no cosine is larger
        return {'active_sampler': changed} if changed else {}
    raise UserError(f'table {row.table}, row {row.number}: found the variant {row.variant!r}, which is not known')


def has_ended(experiment: Experiment) -> bool:
    """Return whether an experiment ended in its folder, with whatever settings."""
    return (experiment.folder / METRICS).exists()  # the last that the loop writes


def is_finished(experiment: Experiment) -> bool:
    """Return whether an experiment ended in its folder with this config, what it inherits, and these options."""
    config = experiment.config
    return has_ended(experiment) and config.exists() and config.read_text() == experiment.config_text()
