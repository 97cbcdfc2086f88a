"""Does the installed upstream still have its defects? Run as a script, which prints JSON by fix name.

Each probe does what a user would do and returns whether that goes wrong. ``unfixed``: no fix is in place; when a probe
answers False there, upstream has mended it and our fix can go. ``fixed after import`` and, with the option
``--fixed``, ``fixed``: all fixes and preferences were put in place after or before upstream was loaded; every probe
must answer False.
"""

import inspect
import io
import json
import sys
import tempfile
import traceback
import types
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock

import numpy as np
import torch

import ssal3d  # noqa: F401 - without it, mmcv-lite cannot be imported at all
from tests.helpers.operator_inputs import renumbered
from tests.helpers.timing import seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

torch.set_num_threads(1)
rng = np.random.default_rng(0)


def prepare():
    """Put fixes and preferences in place, if asked to; a probe that changes the environment does so first."""
    if '--fixed' in sys.argv:
        from ssal3d import compat

        compat.apply_preferences()


def fails(action):
    """Whether the action raises; what spconv prints about it is not shown."""
    try:
        with redirect_stderr(io.StringIO()):
            action()
    except Exception:
        return True
    return False


def numpy_long():
    return not hasattr(np, 'long')


def pkg_resources():
    from mmengine import utils

    with mock.patch.dict(sys.modules, {'pkg_resources': None}):
        prepare()
        return fails(lambda: utils.get_installed_path('mmdet3d'))


def broken_open3d():
    """Import MMDetection3D's visualiser beside an open3d whose shared library is missing."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / 'open3d.py').write_text('raise OSError("libusb-1.0.so.0: cannot open shared object file")')
        with mock.patch.object(sys, 'path', [folder, *sys.path]):
            prepare()
            return fails(lambda: __import__('mmdet3d.visualization.local_visualizer'))


def safe_checkpoints():
    from mmengine.logging import HistoryBuffer
    from mmengine.runner.checkpoint import load_from_http, load_from_local

    with tempfile.TemporaryDirectory() as folder:
        path = f'{folder}/checkpoint.pth'
        torch.save({'message_hub': {'log_scalars': {'loss': HistoryBuffer([1.0], [1])}}}, path)
        refused = fails(lambda: load_from_local(path, map_location='cpu'))
        weights_only = []
        Path(folder, 'hub.pth').write_bytes(b'')
        with mock.patch('torch.hub.torch.load', lambda *args, **kwargs: weights_only.append(kwargs['weights_only'])):
            load_from_http('https://example.org/hub.pth', model_dir=folder)
    return refused or weights_only != [True]


def safe_pickles():
    from mmengine.fileio import load

    with tempfile.TemporaryDirectory() as folder:
        trace, path = Path(folder, 'owned'), Path(folder, 'dbinfos.pkl')
        path.write_bytes(b'cos\nmkdir\n(V' + str(trace).encode() + b'\ntR.')
        fails(lambda: load(path))
        return trace.exists()


def atomic_files():
    from mmengine.fileio import LocalBackend

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'last_checkpoint')
        path.write_text('epoch_1.pth')
        fails(lambda: LocalBackend().put_text(Unwritable('epoch_2.pth'), path))
        return path.read_text() != 'epoch_1.pth'


class Unwritable(str):
    """A text whose writing breaks off, like a full disk."""

    def encode(self, *args, **kwargs):
        raise OSError('no space left on device')


def keep_last_checkpoint():
    from mmengine.hooks import CheckpointHook
    from mmengine.logging import MessageHub

    with tempfile.TemporaryDirectory() as folder:
        hub = MessageHub.get_instance('probe')
        hook, runner = CheckpointHook(max_keep_ckpts=1), mock.Mock(work_dir=folder, iter=0, message_hub=hub)
        runner.save_checkpoint.side_effect = OSError('no space left on device')
        hook.before_train(runner)
        hook.keep_ckpt_ids.append(1)
        first = Path(hook.out_dir, 'epoch_1.pth')
        first.parent.mkdir(exist_ok=True)
        first.write_bytes(b'weights')
        fails(lambda: hook._save_checkpoint_with_step(runner, 2, meta={}))
        return not first.exists()


def cyclic_momentum():
    """Let the Runner build the momentum part of the stock schedule, and step through it."""
    import mmdet3d
    from mmengine.config import Config
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    folder = Path(mmdet3d.__file__).parent / '.mim' / 'configs' / '_base_' / 'schedules'
    schedule = Config.fromfile(str(folder / 'cyclic-40e.py')).param_scheduler
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1e-3, betas=(0.95, 0.99))
    runner = types.SimpleNamespace(_train_loop=None, train_dataloader=[None], logger=mock.Mock())
    parts = Runner._build_param_scheduler(runner, schedule, OptimWrapper(optimizer))
    for _ in range(40):
        optimizer.step()
        for part in parts:
            part.step()
    return abs(optimizer.param_groups[0]['betas'][0] - 0.95) > 1e-3


def cpu_data_parallel():
    from mmengine.model import MMDistributedDataParallel
    from torch import distributed

    with tempfile.TemporaryDirectory() as folder:
        distributed.init_process_group('gloo', init_method=f'file://{folder}/store', rank=0, world_size=1)
        try:
            return fails(lambda: MMDistributedDataParallel(torch.nn.Linear(1, 1), device_ids=[0]))
        finally:
            distributed.destroy_process_group()


def cpu_launchers():
    from mmengine.dist import init_dist
    from torch import distributed

    environment = {'RANK': '0', 'LOCAL_RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '0'}
    with mock.patch.dict('os.environ', environment):
        broken = fails(lambda: init_dist('pytorch'))
    if distributed.is_initialized():
        distributed.destroy_process_group()
    return broken


def cpu_point_operators():
    from mmcv.ops import ball_query, furthest_point_sample, gather_points, grouping_operation, points_in_boxes_part

    points, index = torch.rand(1, 8, 3), torch.zeros(1, 4, 2, dtype=torch.int32)
    return all(
        map(
            fails,
            (
                lambda: furthest_point_sample(points, 2),
                lambda: ball_query(0, 1.0, 2, points, points),
                lambda: grouping_operation(points.transpose(1, 2).contiguous(), index),
                lambda: gather_points(points.transpose(1, 2).contiguous(), index[..., 0].contiguous()),
                lambda: points_in_boxes_part(points, torch.rand(1, 2, 7)),
            ),
        )
    )


def fast_cpu_boxes_and_voxels():
    """Both must take at least five times as long as the kernels that replace them; mmcv-lite has none to replace."""
    from mmcv.ops import nms_rotated
    from mmcv.ops.voxelize import voxelization

    from ssal3d.ops.rotated_boxes import nms_rotated as fast_nms
    from ssal3d.ops.voxelize import hard_voxelize

    boxes = torch.from_numpy(rng.uniform((0, 0, 3, 1, -3), (40, 40, 5, 2, 3), (500, 5))).float()
    points = torch.from_numpy(rng.uniform((0, -40, -3, 0), (70, 40, 1, 1), (5000, 4))).float()
    grid = [0.05, 0.05, 0.1], [0.0, -40.0, -3.0, 70.4, 40.0, 1.0], 5, 16000
    scores = torch.rand(500)
    slow_nms = seconds(lambda: nms_rotated(boxes, scores, 0.7)) > 5 * seconds(lambda: fast_nms(boxes, scores, 0.7))
    return slow_nms and seconds(lambda: voxelization(points, *grid)) > 5 * seconds(lambda: hard_voxelize(points, *grid))


def nms_of_nothing():
    from mmdet3d.models.layers import nms_bev

    return nms_bev(torch.zeros(0, 5), torch.zeros(0), 0.5).shape != (0,)


def native(layer):
    """Let the sparse convolutions of a layer use the algorithm that has CPU kernels, also in a CUDA build of spconv."""
    from spconv.core import ConvAlgo

    for module in layer.modules():
        if hasattr(module, 'algo'):
            module.algo = ConvAlgo.Native
    return layer


def one_voxel():
    from spconv.pytorch import SparseConvTensor

    return SparseConvTensor(torch.rand(1, 2), torch.zeros(1, 4, dtype=torch.int32), [3, 3, 3], 1)


def spconv_stream():
    from spconv import pytorch as spconv

    output = native(spconv.SubMConv3d(2, 2, 3))(one_voxel()).features.sum()
    return fails(output.backward)


def spconv_hash_order():
    """Without CUDA only the arguments can be seen: the maintainer says which of them leaves the order undefined."""
    from spconv.pytorch import ops

    return inspect.signature(ops.get_indice_pairs_implicit_gemm).parameters['direct_table'].default


def spconv_cuda_build():
    """A layer with the algorithm that CUDA builds choose gets a voxel on the CPU."""
    from spconv import pytorch as spconv
    from spconv.core import ConvAlgo

    layer = spconv.SubMConv3d(2, 2, 3)
    layer.algo = ConvAlgo.MaskImplicitGemm
    return fails(lambda: layer(one_voxel()))


def spconv_frame_order():
    from spconv import pytorch as spconv

    indices = torch.tensor([[0, 2, 2, 2], [1, 2, 2, 2]], dtype=torch.int32)
    layer = native(spconv.SparseConv3d(1, 1, 3, padding=1))
    output = layer(spconv.SparseConvTensor(torch.rand(2, 1), indices, [5, 5, 5], 2))
    frames = output.indices[:, 0].tolist()
    return frames != sorted(frames)


def spconv_races():
    """Convolve the same voxels with one thread and many times with several: the results must agree."""
    from spconv import pytorch as spconv

    torch.manual_seed(0)
    cells = torch.randperm(20 * 50 * 50)[:20000]
    indices = torch.stack((torch.zeros_like(cells), *torch.unravel_index(cells, (20, 50, 50))), 1).int()
    layer, features = native(spconv.SubMConv3d(4, 6, 3, bias=False)), torch.rand(len(cells), 4)

    def convolve(threads):
        torch.set_num_threads(threads)
        with torch.no_grad():
            return layer(spconv.SparseConvTensor(features, indices, [20, 50, 50], 1)).features

    try:
        expected = convolve(1)
        return not all(torch.allclose(convolve(threads), expected, atol=1e-4) for threads in (2, 4, 8) * 30)
    finally:
        torch.set_num_threads(1)


def sparse_row_order():
    """An encoder whose strided convolutions number their rows at random must give the rows of the levels in order."""
    from mmdet3d.models.middle_encoders import SparseEncoder
    from spconv.pytorch import ops

    pairs = ops.get_indice_pairs

    def shuffled(indices, frames, shape, algo, kernel, stride, padding, dilation, out_padding, subm, *more):
        found = pairs(indices, frames, shape, algo, kernel, stride, padding, dilation, out_padding, subm, *more)
        return found if subm else renumbered(*found)

    encoder = native(SparseEncoder(1, [41, 32, 32], return_middle_feats=True)).eval()
    cells = torch.randperm(2 * 41 * 32 * 32)[:500].sort().values
    voxels = torch.stack(torch.unravel_index(cells, (2, 41, 32, 32)), 1).int()
    with mock.patch.object(ops, 'get_indice_pairs', shuffled), torch.no_grad():
        levels = encoder(torch.rand(len(voxels), 1), voxels, 2)[1]
    return any(level.indices.tolist() != sorted(level.indices.tolist()) for level in levels)


def serial_voxelisation():
    """On a device without a kernel of its own, only sorting with torch's operators can voxelise."""
    from mmcv import _ext

    def meta(*shape, dtype=torch.float32):
        return torch.zeros(shape, dtype=dtype, device='meta')

    results = meta(3, 2, 4), meta(3, 3, dtype=torch.int32), meta(3, dtype=torch.int32), meta(dtype=torch.long)
    grid, sizes = (torch.ones(3), torch.tensor([0.0, 0, 0, 4, 4, 4])), {'max_points': 2, 'max_voxels': 3, 'NDim': 3}
    return fails(lambda: _ext.hard_voxelize_forward(meta(5, 4), *grid, *results, **sizes, deterministic=True))


def boxes_one_by_one():
    """Whether a box object is made for each of the instances that an index takes."""
    from mmdet3d.structures import LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    instances = InstanceData(boxes=LiDARInstance3DBoxes(torch.rand(9, 7)), scores=torch.rand(9))
    with mock.patch.object(
        LiDARInstance3DBoxes, '__init__', autospec=True, side_effect=LiDARInstance3DBoxes.__init__
    ) as made:
        taken = instances[instances.scores > -1]
    assert torch.equal(taken.boxes.tensor, instances.boxes.tensor)
    return made.call_count > 1


def kept_memory():
    """Whether large blocks go back to the system when they are freed, so that their pages are handed out anew."""
    import ctypes
    import resource

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes, size, faults = [ctypes.c_void_p], 8_000_000, []
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        # No tensors: a small block that Python keeps behind them would keep them, too, now and then.
        blocks = [libc.malloc(size) for _ in range(8)]
        for block in blocks:
            ctypes.memset(block, 1, size)
        for block in blocks:
            libc.free(block)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(faults[5:]) > 10  # of 16,000 pages, or 30 huge ones


def frames_without_points():
    from mmdet3d.models.data_preprocessors import Det3DDataPreprocessor

    layer = dict(voxel_size=[1, 1, 1], point_cloud_range=[0, 0, 0, 4, 4, 4], max_num_points=2, max_voxels=9)
    preprocessor = Det3DDataPreprocessor(voxel=True, voxel_layer=layer)
    data = {'inputs': {'points': [torch.ones(1, 4), torch.zeros(0, 4)]}, 'data_samples': None}
    if fails(lambda: preprocessor(data)):  # mmcv-lite cannot make voxels at all
        return True
    return int(preprocessor(data)['inputs']['voxels']['coors'][-1, 0]) + 1 != 2


def frames_without_proposals():
    from mmdet3d.structures import bbox3d2roi

    return fails(lambda: bbox3d2roi([torch.zeros(0, 7), torch.ones(1, 7)]))


def frames_without_objects():
    from mmdet.models.task_modules import AssignResult, SamplingResult

    none, one = torch.zeros(0, dtype=torch.long), torch.zeros(1, dtype=torch.long)
    assigned = AssignResult(0, one, torch.zeros(1), one)
    result = SamplingResult(none, one, torch.zeros(1, 7), torch.zeros(0, 7), assigned, torch.zeros(1, dtype=torch.bool))
    return result.pos_gt_bboxes.shape != (0, 7)


def negative_proposals():
    """Proposal 0 is positive, proposal 1 negative; of two negatives asked for, both must be proposal 1."""
    from mmdet3d.models.task_modules.samplers import IoUNegPiecewiseSampler

    sampler = IoUNegPiecewiseSampler(2, 0.5, neg_piece_fractions=[0.8, 0.2], neg_iou_piece_thrs=[0.55, 0.1])
    assigned = types.SimpleNamespace(gt_inds=torch.tensor([1, 0]), max_overlaps=torch.tensor([0.9, 0.0]))
    return sampler._sample_neg(assigned, 2).tolist() != [1, 1]


# The visualiser comes first: it needs a process that has not loaded it.
FUNCTIONS = (
    broken_open3d, numpy_long, pkg_resources, safe_checkpoints, safe_pickles, atomic_files, keep_last_checkpoint,
    cyclic_momentum, cpu_data_parallel, cpu_launchers, cpu_point_operators, fast_cpu_boxes_and_voxels, nms_of_nothing,
    spconv_stream, spconv_frame_order, spconv_hash_order, spconv_cuda_build, spconv_races, sparse_row_order,
    serial_voxelisation, boxes_one_by_one, kept_memory, frames_without_points, frames_without_proposals, frames_without_objects,
    negative_proposals,
)  # fmt: skip
PROBES = {function.__name__.replace('_', '-'): function for function in FUNCTIONS}


def run_all():
    """Return by fix name whether the defect is there, or the traceback of a probe that broke."""
    answers = {}
    for name, probe in PROBES.items():
        try:
            if probe is not broken_open3d:
                prepare()
            answers[name] = bool(probe())
        except Exception:
            answers[name] = traceback.format_exc()
    return answers


if __name__ == '__main__':
    report = {'fixed' if '--fixed' in sys.argv else 'unfixed': run_all()}
    if '--fixed' not in sys.argv:
        sys.argv.append('--fixed')
        report['fixed after import'] = run_all()  # everything of upstream is loaded by now
    print(json.dumps(report))
