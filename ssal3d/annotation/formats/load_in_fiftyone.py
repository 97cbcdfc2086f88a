"""Load the frames beside this script into FiftyOne, and write the boxes back after they were edited there.

The script needs FiftyOne (pip install fiftyone) and nothing of ssal3d: it runs in an environment of its own.

Example:
    python load_in_fiftyone.py --name round_1
    python load_in_fiftyone.py --name round_1 --export
"""

import argparse
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SAMPLES, EDITED = 'samples.jsonl', 'edited.jsonl'
FACTS = ('frame_id', 'rank', 'utility', 'round')


def samples(folder: Path, field: str) -> list[Any]:
    """Return one ``fiftyone.Sample`` a frame, with the boxes as ``Detections`` in a field."""
    import fiftyone as fo

    found = []
    for line in (folder / SAMPLES).read_text(encoding='utf-8').splitlines():
        row = json.loads(line)
        detections = [
            fo.Detection(
                label=box['label'],
                location=box['location'],
                dimensions=box['dimensions'],
                rotation=box['rotation'],
                confidence=box.get('confidence'),
                ssal3d_id=box['id'],
            )
            for box in row['prelabels']
        ]
        sample = fo.Sample(filepath=str(folder / row['filepath']), tags=row['tags'])
        for name in FACTS:
            if row.get(name) is not None:
                sample[name] = row[name]
        sample[field] = fo.Detections(detections=detections)
        found.append(sample)
    return found


def rows(edited: Any, field: str) -> list[dict[str, Any]]:
    """Return the boxes of samples (a data set, a view or a list) as rows of a JSON lines file."""
    return [
        {
            'frame_id': sample['frame_id'],
            'prelabels': [
                {
                    'id': _value(detection, 'ssal3d_id') or '',
                    'fo_id': str(detection.id),
                    'label': detection.label,
                    'location': list(detection.location),
                    'dimensions': list(detection.dimensions),
                    'rotation': list(detection.rotation),
                }
                for detection in (sample[field].detections if sample[field] else [])
            ],
        }
        for sample in edited
    ]


def main() -> None:
    """Load or export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--name', required=True, help='name of the data set in FiftyOne')
    parser.add_argument('--field', default='prelabels', help='field of the boxes (default: prelabels)')
    parser.add_argument('--export', action='store_true', help=f'write {EDITED} beside this script')
    parser.add_argument('--overwrite', action='store_true', help='replace a data set of this name, edits included')
    arguments = parser.parse_args()

    import fiftyone as fo

    if arguments.export:
        content = rows(fo.load_dataset(arguments.name), arguments.field)
        (HERE / EDITED).write_text(''.join(json.dumps(row) + '\n' for row in content), encoding='utf-8')
        print(f'wrote {len(content)} frames to {HERE / EDITED}')
        return
    if fo.dataset_exists(arguments.name) and not arguments.overwrite:
        parser.exit(
            2,
            f'error: FiftyOne has a data set {arguments.name}, which may hold edits; look at it with: fiftyone app launch, '
            'write it back with --export, load beside it with another --name, or replace it with --overwrite\n',
        )
    dataset = fo.Dataset(arguments.name, persistent=True, overwrite=arguments.overwrite)
    dataset.add_samples(samples(HERE, arguments.field))
    print(f'{len(dataset)} frames are in the data set {arguments.name}; look at them with: fiftyone app launch')


def _value(detection: Any, name: str) -> Any:
    return detection[name] if detection.has_field(name) else None


if __name__ == '__main__':
    main()
