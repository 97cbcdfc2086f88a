"""Readers of what annotation tools and recorders write, each with small valid files."""

import io
import json
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssal3d.errors import UserError
from tools.faults.foreign_files import POINTS
from tools.faults.fuzzing import Example, Reader
from tools.faults.own_files import CLASSES, plain


def _annotations(tool: str, options: dict[str, Any] | None = None, builders: Sequence[Any] = ()) -> Reader:
    """Return the reader of a format of annotation tools, fed with what the format itself exports."""
    from ssal3d.annotation.format import Batch, build_format
    from ssal3d.annotation.model import Cuboid, LabelFrame

    form = build_format(tool, options)
    cuboids = tuple(
        Cuboid(name, (5.0 + number, 1.0, -1.0, 4.0, 2.0, 1.5, 0.1), str(number), score=0.5)
        for number, name in enumerate(CLASSES, 1)
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / 'out'
        folder.mkdir()
        POINTS.tofile(Path(name) / 'a.bin')
        form.export([LabelFrame('a', cuboids, scan=Path(name) / 'a.bin', time_ns=10**9)], folder, Batch(CLASSES))
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}
        targets = [str(path.relative_to(folder)) for path in form.label_files(folder)]
    small = {path: data for path, data in files.items() if not path.endswith(('.bin', '.pcd', '.png'))}
    if tool == 'nuscenes':
        targets = [path for path in small if path.endswith('.json')]
    kinds = {'.json': 'json', '.csv': 'text', '.txt': 'text'}
    examples = [Example(path, files[path], kinds.get(Path(path).suffix, 'binary'), small) for path in targets]
    if tool == 'kitti':
        calibration = next(path for path in small if '/calib/' in path)
        examples.append(Example(calibration, small[calibration], 'text', small))

    def read(at: Path) -> Any:
        reading = form.read(at)
        if reading.problems:
            raise UserError(reading.problems[0].text)
        return reading.frames

    def check(found: Any) -> None:
        for frame in found:
            assert isinstance(frame.frame_id, str)
            assert '/' not in frame.frame_id
            assert frame.frame_id not in ('', '..')
            plain(frame.frame_id)
            for cuboid in frame.cuboids:
                assert len(cuboid.box) == 7, f'box {cuboid.box}'
                assert np.isfinite(cuboid.box).all(), f'box {cuboid.box}'
                assert np.isfinite(cuboid.tilt)
                assert isinstance(cuboid.class_name, str)
                assert cuboid.score is None or np.isfinite(cuboid.score), f'score {cuboid.score}'
                plain((cuboid.class_name, cuboid.id, cuboid.track_id, cuboid.box))

    return Reader(tool, read, [*examples, *builders], check)


def label_json_reader() -> Reader:
    """The toolkit's own JSON labels, which scripts write as well."""
    return _named('label-json', _annotations('json'))


def label_csv_reader() -> Reader:
    """Tables of labels."""
    return _named('label-csv', _annotations('csv'))


def label_kitti_reader() -> Reader:
    """KITTI labels that come back from a tool."""
    return _named('label-kitti', _annotations('kitti'))


def openlabel_reader() -> Reader:
    """ASAM OpenLABEL."""
    return _annotations('openlabel')


def sly_reader() -> Reader:
    """Supervisely and CVAT."""
    return _annotations('sly')


def sustechpoints_reader() -> Reader:
    """SUSTechPOINTS."""
    return _annotations('sustechpoints')


def xtreme1_reader() -> Reader:
    """Xtreme1 and BasicAI."""
    return _annotations('xtreme1')


def nuscenes_reader() -> Reader:
    """NuScenes' tables."""
    return _annotations('nuscenes')


def mcap_reader() -> Reader:
    """MCAP files: as bytes, and with damaged messages in a sound container."""
    update = {
        'deletions': [],
        'entities': [
            {
                'id': 'a/1',
                'metadata': [{'key': 'class', 'value': 'Car'}, {'key': 'score', 'value': '0.5'}],
                'cubes': [
                    {
                        'pose': {
                            'position': {'x': 5.0, 'y': 1.0, 'z': -1.0},
                            'orientation': {'x': 0.0, 'y': 0.0, 'z': 0.0, 'w': 1.0},
                        },
                        'size': {'x': 4.0, 'y': 2.0, 'z': 1.5},
                    }
                ],
            }
        ],
    }
    text, names = json.dumps(update).encode(), json.dumps({'a': 10**9}).encode()
    protobuf, schema = _scene_update(update)
    builders = [
        Example('x.mcap', text, 'json', build=lambda data: _mcap(data, names, 'json', 'foxglove.SceneUpdate', b'{}')),
        Example('x.mcap', names, 'json', build=lambda data: _mcap(text, data, 'json', 'foxglove.SceneUpdate', b'{}')),
        Example('x.mcap', protobuf, build=lambda data: _mcap(data, names, 'protobuf', 'foxglove.SceneUpdate', schema)),
        Example('x.mcap', schema, build=lambda data: _mcap(protobuf, names, 'protobuf', 'foxglove.SceneUpdate', data)),
    ]
    both = _annotations('mcap', builders=builders)
    ros2 = _annotations('mcap', {'flavour': 'ros2'})
    return Reader('mcap', both.read, [*both.examples, *ros2.examples], both.check)


def recording_reader() -> Reader:
    """Point clouds in MCAP recordings."""
    from ssal3d.data.folder.recordings import extract

    exported = _annotations('mcap')
    with_clouds = exported.examples[0]

    def read(at: Path) -> Any:
        shutil.rmtree(at / 'out', ignore_errors=True)
        extract([at / with_clouds.target], at / 'out')
        found = [np.load(path, allow_pickle=False) for path in sorted(at.glob('out/*/points/*.npy'))]
        return found, (next(at.glob('out/*/times.txt'))).read_text()

    def check(found: Any) -> None:
        assert all(len(points) < 10_000 and points.dtype.names for points in found[0])
        assert all(np.isfinite(float(line)) for line in found[1].split())

    return Reader('recording', read, [Example(with_clouds.target, with_clouds.content)], check)


def archive_reader() -> Reader:
    """Archives that tools give back, down to the checked labels of a batch."""
    from ssal3d.annotation.exporting import export_query
    from ssal3d.annotation.importing import read_labels
    from ssal3d.annotation.model import Cuboid, LabelFrame
    from ssal3d.terminal import console

    cuboid = Cuboid('Car', (5.0, 1.0, -1.0, 4.0, 2.0, 1.5, 0.1), '1', score=0.5)
    with tempfile.TemporaryDirectory() as name:
        POINTS.tofile(Path(name) / 'a.bin')
        pool = {'name': 'train', 'size': 3, 'sha256': 'x'}
        export_query(
            [LabelFrame('a', scan=Path(name) / 'a.bin')], Path(name) / 'out', 'json', classes=CLASSES, round_number=1,
            pool=pool, prelabels={'a': (cuboid,)},
        )  # fmt: skip
        folder = Path(name) / 'out'
        files = {f'export/{p.relative_to(folder)}': p.read_bytes() for p in folder.rglob('*') if p.is_file()}
    label = files['export/labels/a.json']
    packed, tarred = _zip({'labels/a.json': label}), _tar({'labels/a.json': label})
    examples = [
        Example('back.zip', packed, files=files),
        Example('back.zip', label, 'json', files, lambda data: _zip({'labels/a.json': data})),
        Example('back.zip', b'labels/a.json', 'text', files, lambda name: _zip({name.decode(): label})),
        Example('back.tar', tarred, files=files),
        Example('back.tar', b'labels/a.json', 'text', files, lambda name: _tar({name.decode(): label})),
    ]

    def read(at: Path) -> Any:
        before = {path for path in at.parent.rglob('*')}
        console.quiet = True
        try:
            return read_labels(at / 'export', next(at.glob('back.*')))
        finally:
            console.quiet = False
            added = {path for path in at.parent.rglob('*')} - before
            assert not added, f'files out of the archive: {added}'

    def check(found: Any) -> None:
        for frame in found.frames:
            assert frame.frame_id == 'a'
            for box in frame.cuboids:
                assert np.isfinite(box.box).all()
                assert min(box.box[3:6]) > 0
                assert box.class_name in CLASSES

    return Reader('archive', read, examples, check)


def _named(name: str, reader: Reader) -> Reader:
    return Reader(name, reader.read, reader.examples, reader.check)


def _mcap(update: bytes, times: bytes, encoding: str, name: str, schema: bytes) -> bytes:
    """Return an MCAP file with one message and the times of the frames."""
    from mcap.writer import Writer

    stream = io.BytesIO()
    writer = Writer(stream)
    writer.start(profile='', library='')
    number = writer.register_schema(name, 'jsonschema' if encoding == 'json' else 'protobuf', schema)
    channel = writer.register_channel('/ssal3d/labels', encoding, number)
    writer.add_message(channel, log_time=10**9, publish_time=10**9, data=update)
    writer.add_attachment(0, 0, 'frames.json', 'application/json', times)
    writer.finish()
    return stream.getvalue()


def _scene_update(content: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return a SceneUpdate as protobuf, and the description of its type."""
    from foxglove_schemas_protobuf import SceneUpdate_pb2
    from google.protobuf import descriptor_pb2

    from ssal3d.annotation.formats.mcap_messages import fill

    message = fill(SceneUpdate_pb2.SceneUpdate(), content)
    described = descriptor_pb2.FileDescriptorSet()
    known: set[str] = set()

    def add(file: Any) -> None:
        if file.name not in known:
            known.add(file.name)
            for needed in file.dependencies:
                add(needed)
            file.CopyToProto(described.file.add())

    add(SceneUpdate_pb2.DESCRIPTOR)
    return message.SerializeToString(), described.SerializeToString()


def _zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


READERS = (
    *(label_json_reader, label_csv_reader, label_kitti_reader, openlabel_reader, sly_reader, sustechpoints_reader),
    *(xtreme1_reader, nuscenes_reader, mcap_reader, recording_reader, archive_reader),
)
