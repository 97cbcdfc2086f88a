import numpy as np


def test_the_worked_example_and_what_tao_refuses(batch):
    folder, notes = batch.write('tao')
    lines = (folder / 'train' / 'label' / 'vector.txt').read_text().splitlines()
    assert lines == ['Car -1 -1 0 0 0 0 0 1.5000 1.7000 4.1000 10.1234 2.5678 -1.2345 2.9000 0.9120']
    assert len(lines[0].split()) == 16
    stems = {path.stem for path in (folder / 'train' / 'label').iterdir()}
    assert stems == {path.stem for path in (folder / 'train' / 'lidar').iterdir()}
    assert stems == set(batch.prelabels) - {'empty.frame'}
    assert notes == ['1 frames without boxes were left out: TAO refuses empty label files']
    assert (folder / 'train' / 'label' / 'bench.txt').read_text().startswith('park_bench ')


def test_intensities_are_in_the_unit_interval(batch):
    scan = np.fromfile(batch.frames[0].scan, '<f4').reshape(-1, 4)
    scan[:, 3] *= 255
    scan.tofile(batch.frames[0].scan)
    folder, notes = batch.write('tao', frames=batch.frames[:2], options={'split': 'val'})
    found = np.fromfile(folder / 'val' / 'lidar' / 'vector.bin', '<f4').reshape(-1, 4)
    assert found[:, 3].max() <= 1
    assert np.allclose(found[:, 3], scan[:, 3] / 255)
    assert any('intensity of 1 frames was divided by 255' in note for note in notes)
