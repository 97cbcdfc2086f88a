"""One range of the point cloud: the detector's voxels, its other parts, the pipelines, the anchors, the results."""

from collections.abc import Iterator

from ssal3d.checks.finding import Checked, Finding, merged
from ssal3d.checks.subject import VOXELS, Subject
from ssal3d.checks.tree import join, mappings, numbers, shown

TOLERANCE = 1e-3  # m
ANCHOR_TOLERANCE = 0.02  # of the extent: aligned generators may place anchors half a cell inside
RESULT_RANGES = ('post_center_range', 'post_center_limit_range')


def check_range(subject: Subject) -> Checked:
    """Compare every range with that of the voxels."""
    name, limits = 'range', subject.limits
    if limits is None:
        return Checked(name, 'the detector has no voxels')
    empty = [axis for axis in range(3) if limits[axis + 3] <= limits[axis]]
    if empty:
        key = f'{VOXELS}.point_cloud_range'
        return Checked(name, key, (Finding(key, shown(limits), 'x, y, z minimum, then larger maximum'),))
    pairs = [*_of_model(subject), *_of_pipelines(subject)]
    expected = f'{shown(limits)} as {VOXELS}.point_cloud_range'
    wrong = [
        Finding(key, shown(values), expected if len(values) == 6 else f'{shown(limits[: len(values)])}, its minimum')
        for key, values in pairs
        if _differ(values, limits)
    ]
    wrong += [*_anchors(subject, limits), *_results(subject, limits)]
    return Checked(name, f'{shown(limits)} m in {len(pairs) + 1} places', merged(wrong))


def _differ(values: list[float], limits: list[float]) -> bool:
    return any(abs(value - limit) > TOLERANCE for value, limit in zip(values, limits))


def _of_model(subject: Subject) -> Iterator[tuple[str, list[float]]]:
    for path, part in mappings(subject.model, subject.model_key):
        for key in ('point_cloud_range', 'pc_range'):
            values = numbers(part.get(key))
            if values and len(values) in (2, 3, 6) and join(path, key) != f'{VOXELS}.point_cloud_range':
                yield join(path, key), values


def _of_pipelines(subject: Subject) -> Iterator[tuple[str, list[float]]]:
    for name, pipeline in subject.pipelines():
        for path, step in mappings(pipeline, name):
            values = numbers(step.get('point_cloud_range'), 6)
            if values:
                yield join(path, 'point_cloud_range'), values


def _anchors(subject: Subject, limits: list[float]) -> Iterator[Finding]:
    for path, part in mappings(subject.model, subject.model_key):
        if not str(part.get('type', '')).endswith('RangeGenerator'):
            continue
        sizes = part.get('sizes') or [[0, 0, 0]]
        for index, given in enumerate(part.get('ranges') or ()):
            values = numbers(given, 6)
            if values is None:
                continue
            key, tall = join(path, f'ranges.{index}'), sizes[min(index, len(sizes) - 1)][2]
            for axis in (0, 1, 3, 4):
                if abs(values[axis] - limits[axis]) > ANCHOR_TOLERANCE * (limits[axis % 3 + 3] - limits[axis % 3]):
                    ends = [limits[0], limits[1], values[2], limits[3], limits[4], values[5]]
                    yield Finding(key, shown(values), f'{shown(ends)}: anchors fill the range of the voxels')
                    break
            if values[2] + tall < limits[2] or values[2] > limits[5]:
                yield Finding(
                    key, f'anchors at z = {values[2]:g} m', f'a height between {limits[2]:g} and {limits[5]:g} m'
                )


def _results(subject: Subject, limits: list[float]) -> Iterator[Finding]:
    for path, part in mappings(subject.model, subject.model_key):
        for key in RESULT_RANGES:
            values = numbers(part.get(key), 6)
            if values and any(
                values[axis] > limits[axis] + TOLERANCE or values[axis + 3] < limits[axis + 3] - TOLERANCE
                for axis in range(2)
            ):
                yield Finding(join(path, key), shown(values), f'a range that holds {shown(limits)}: boxes are cut off')
