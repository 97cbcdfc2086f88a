"""The matrix of `docs/detectors.md`: which samplers and stages work with which detector, as the classes say.

Rewrite it with ``python -m tools.documentation.detector_matrix`` after a class changed what it gives or needs.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ssal3d.register  # noqa: F401
from ssal3d.configs import read_config
from ssal3d.errors import UserError
from ssal3d.loop.abilities import check_sampler, check_stage, detector_class
from ssal3d.models.extraction import provided_columns
from ssal3d.models.protocol import lacking
from ssal3d.registry import ACTIVE_SAMPLERS, STAGES
from ssal3d.stages.supervised import SupervisedStage

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'detectors.md'
BEGIN, END = '<!-- matrix: python -m tools.documentation.detector_matrix -->\n', '<!-- end of matrix -->\n'
DETECTORS = {
    'PV-RCNN': 'ActivePointVoxelRCNN',
    'SECOND, PointPillars': 'ActiveVoxelNet',
    'CenterPoint': 'ActiveCenterPoint',
}
# Options that change what a sampler reads.
VARIANTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    'BADGESampler': (dict(layer='roi_cls'), dict(layer='rpn_conv_cls')),
    'CALSampler': (dict(entropy='binary_score'), dict(entropy='rpn_softmax')),
    'EntropySampler': (dict(source='binary_score'), dict(source='softmax_rpn')),
}


def matrix() -> str:
    """Return the matrix as Markdown."""
    header = ['', *DETECTORS]
    lines = [header, ['---'] * len(header), *_samplers(), *_stages()]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _samplers() -> Iterator[list[str]]:
    leaves = {stage.leaves: name for name, stage in stages().items() if stage.leaves}
    for name in sorted(ACTIVE_SAMPLERS.module_dict):
        cells = []
        for detector in map(detector_class, DETECTORS.values()):
            cell = _sampler_cell(name, detector)
            for leaf, stage in leaves.items():
                fits = issubclass(detector_class(leaf), detector)
                if cell != 'yes' and fits and _sampler_cell(name, detector_class(leaf)) == 'yes':
                    cell = f'after the stage `{stage}`'
            cells.append(cell)
        yield [f'`{name}`', *cells]


def _sampler_cell(name: str, detector: type) -> str:
    variants = VARIANTS.get(name, ({},))
    working = [options for options in variants if _refusal(name, options, detector) is None]
    if len(working) == len(variants):
        return 'yes'
    if working:
        return ' or '.join(f"`{key}='{value}'`" for options in working for key, value in options.items())
    return str(_refusal(name, variants[0], detector))


def _refusal(name: str, options: Mapping[str, Any], detector: type) -> str | None:
    sampler = ACTIVE_SAMPLERS.build(dict(type=name, **options))
    try:
        check_sampler(sampler, detector)
    except UserError:
        columns = {*sampler.required_fields, *sampler.labelled_fields} - {*sampler.optional_fields}
        missing = sorted(columns - (provided_columns(detector) or set()))
        return f'no: `{missing[0]}`' if missing else f'no: `gradient` of `{sampler.extraction["gradient"]}`'
    return None


def _stages() -> Iterator[list[str]]:
    for name, stage in stages().items():
        cells = []
        for detector in map(detector_class, DETECTORS.values()):
            try:
                check_stage(name, stage, detector)
            except UserError:
                missing = lacking(detector, stage.needs)
                cells.append(f'no: `{missing}`' if missing else f'no: it makes a {stage.leaves}')
            else:
                cells.append('yes')
        yield [f'stage `{name}`', *cells]


def stages() -> dict[str, SupervisedStage]:
    """Return the stages that every experiment knows by name."""
    config = read_config(ROOT / 'configs' / 'ssal' / 'pvrcnn_kitti.py')
    return {name: STAGES.build(dict(options)) for name, options in config.stages.items()}


def written() -> str:
    """Return the matrix that the page has now."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip('\n') + '\n'


def main() -> None:
    """Write the matrix into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f'{before}{BEGIN}\n{matrix()}\n{END}{rest.partition(END)[2]}')


if __name__ == '__main__':
    main()
