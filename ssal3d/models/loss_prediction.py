"""PV-RCNN with a net that predicts the detector's loss on a frame without knowing its labels (LLAL, arXiv 1905.03677).

The net learns after the detector and beside it: the detector stays in eval mode, gets no gradient and keeps every
buffer. What is learnt is the order of the losses within a batch; a predicted loss has no unit.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet3d.registry import MODELS
from torch import Tensor, nn

from ssal3d.errors import UserError
from ssal3d.models.pvrcnn import ActivePointVoxelRCNN


class LossNet(nn.Module):
    """Predicts one number per frame from the features of its RoIs.

    Each level is reduced to one number per RoI (1x1 convolution, batch norm, ReLU); a linear layer weighs them by rank
    of the RoI. Padded RoIs neither enter the statistics of the batch norm nor the sum.

    Args:
        widths: Feature dimension D of each level.
        rois: RoIs R that every frame is padded to.
        margin: By how much the better order must lead, see `ranking_loss`.
    """

    def __init__(self, widths: Sequence[int], rois: int, margin: float = 1.0) -> None:
        super().__init__()
        if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not margin > 0:
            raise UserError(f'margin of loss_net: found {margin!r}, expected a number above 0')
        self.margin = margin
        self.rois = rois
        self.reduce = nn.ModuleList(nn.Conv1d(width, 1, 1, bias=False) for width in widths)
        self.norm = nn.ModuleList(nn.BatchNorm1d(1) for _ in widths)
        self.weigh = nn.Linear(len(widths) * rois, 1)

    def forward(self, levels: Sequence[Tensor], valid: Tensor) -> Tensor:
        """Return the ``(B,)`` predicted losses.

        Args:
            levels: ``(B, R, D)`` RoI features of each level, in descending order of RPN score.
            valid: ``(B, R)`` which RoIs exist.
        """
        reduced = [self._reduced(level, valid, number) for number, level in enumerate(levels)]
        return self.weigh(torch.cat(reduced, 1)).flatten()

    def _reduced(self, level: Tensor, valid: Tensor, number: int) -> Tensor:
        values = self.reduce[number](level.transpose(1, 2)).squeeze(1)
        existing = values[valid][:, None]
        norm: Any = self.norm[number]
        normed = nn.functional.batch_norm(
            existing,
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            training=self.training and len(existing) > 1,  # a single RoI has no variance
            momentum=norm.momentum,
            eps=norm.eps,
        )
        return torch.zeros_like(values).masked_scatter(valid, normed.relu())


def ranking_loss(predicted: Tensor, actual: Tensor, margin: float = 1.0) -> Tensor:
    """Return by how much predictions fail to order pairs as the actual losses do, with a margin.

    Args:
        predicted: ``(B,)`` predicted losses.
        actual: ``(B,)`` actual losses; frame i is paired with frame B - 1 - i.
        margin: Lead of the higher one that costs nothing.

    Raises:
        ValueError: If B is odd or zero.

    >>> predicted, actual = torch.tensor([0.5, 0.2, 0.9, 0.1]), torch.tensor([3.0, 1, 2, 0])
    >>> round(float(ranking_loss(predicted, actual)), 6)
    0.45
    """
    return (margin - leads(predicted, actual)).clamp(min=0).mean()


def leads(predicted: Tensor, actual: Tensor) -> Tensor:
    """Return the ``(B / 2,)`` leads in prediction of each pair's worse frame: positive where the order is right.

    Args:
        predicted: ``(B,)`` predicted losses.
        actual: ``(B,)`` actual losses.

    Raises:
        ValueError: If B is odd or zero.
    """
    pairs, odd = divmod(len(predicted), 2)
    if odd or not pairs:
        raise ValueError(
            f'found {len(predicted)} frames in a batch, expected an even number: frames are compared in pairs'
        )
    differences = predicted[:pairs] - predicted.flip(0)[:pairs]
    return torch.where(actual[:pairs] > actual.flip(0)[:pairs], differences, -differences)


@MODELS.register_module()
class LossPredictingPVRCNN(ActivePointVoxelRCNN):
    """PV-RCNN of which only the loss net learns; it fills the column ``predicted_loss``.

    Checkpoints of `ActivePointVoxelRCNN` fit but for the keys ``loss_net.*``.

    Args:
        loss_net: Options of `LossNet`: ``margin``.

    Attributes:
        loss_net: The net.
    """

    provides = ActivePointVoxelRCNN.provides | {'predicted_loss'}

    def __init__(self, *args: Any, loss_net: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.requires_grad_(False)
        widths = [layer.out_channels for layer in self._shared_layers]
        self.loss_net = LossNet(widths, self.test_cfg.rpn.nms_post, **(loss_net or {}))
        self._roi_counts: list[int] = []

    @property
    def _shared_layers(self) -> list[ConvModule]:
        """The shared layers of the RoI branch; each ends in a ReLU."""
        return [layer for layer in self.roi_head.bbox_head.shared_fc_layer if isinstance(layer, ConvModule)]

    def train(self, mode: bool = True) -> 'LossPredictingPVRCNN':
        """Set the mode of the loss net; the detector, voxelisation included, stays in eval mode.

        Args:
            mode: Whether the loss net is trained.
        """
        super().train(False)
        self.loss_net.train(mode)
        self.training = mode
        return self

    def loss(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        """Return the ranking loss of the batch, and for the log the share of pairs in the right order.

        Args:
            batch_inputs_dict: Points and voxels of an even number of frames.
            batch_data_samples: Their data samples with ground truth, which is left as it is.
            **kwargs: As in the stock detector.

        Raises:
            ValueError: If the number of frames is odd.
        """
        with torch.no_grad():
            actual = self.frame_losses(batch_inputs_dict, batch_data_samples)
            with self._recording() as levels:
                super().predict(batch_inputs_dict, copy.deepcopy(batch_data_samples))
        predicted = self.loss_net(*self._by_frame(levels))
        return {
            'loss_ranking': ranking_loss(predicted, actual, self.loss_net.margin),
            'ranking_accuracy': (leads(predicted.detach(), actual) > 0).float().mean(),
        }

    def frame_losses(self, batch_inputs_dict: dict, batch_data_samples: list) -> Tensor:
        """Return the ``(B,)`` total losses of the detector, each frame alone: RPN, key points and RoIs.

        Args:
            batch_inputs_dict: Points and voxels.
            batch_data_samples: Data samples with ground truth; copied, because the stock RoI head overwrites it.
        """
        losses = []
        for frame, sample in enumerate(batch_data_samples):
            terms = super().loss(inputs_of_frame(batch_inputs_dict, frame), [copy.deepcopy(sample)])
            losses.append(self.parse_losses(terms)[0])
        return torch.stack(losses)

    def predict(self, batch_inputs_dict: dict, batch_data_samples: list, **kwargs: Any) -> list:
        """Predict as the parent, and the loss of every frame.

        Args:
            batch_inputs_dict: Points and voxels.
            batch_data_samples: Data samples.
            **kwargs: As in the stock detector.
        """
        with self._recording() as levels:
            samples = super().predict(batch_inputs_dict, batch_data_samples, **kwargs)
        for sample, predicted in zip(samples, self.loss_net(*self._by_frame(levels))):
            sample.frame_predictions['predicted_loss'] = predicted
        return samples

    def extract_points_feat(self, batch_inputs_dict: dict, feats_dict: dict, rpn_results_list: list) -> dict:
        """Extract key point features; notes how many RoIs each frame has.

        Args:
            batch_inputs_dict: Points and voxels.
            feats_dict: Features of the first stage.
            rpn_results_list: Proposals of each frame.
        """
        self._roi_counts = [len(proposals['bboxes_3d']) for proposals in rpn_results_list]
        return super().extract_points_feat(batch_inputs_dict, feats_dict, rpn_results_list)

    @contextmanager
    def _recording(self) -> Iterator[dict[int, Tensor]]:
        """Collect the ``(R, D)`` outputs of the shared layers in their first pass, by number of the layer."""
        seen: dict[int, Tensor] = {}

        def record(number: int, output: Tensor) -> None:
            seen.setdefault(number, output.detach().flatten(1).float())  # later passes are of Monte-Carlo dropout

        handles = [
            layer.register_forward_hook(lambda _, __, output, number=number: record(number, output))
            for number, layer in enumerate(self._shared_layers)
        ]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _by_frame(self, levels: Mapping[int, Tensor]) -> tuple[list[Tensor], Tensor]:
        """Return each level as ``(B, R, D)`` with padded RoIs, and ``(B, R)`` which of them exist."""
        rois = self.loss_net.rois
        padded = [
            torch.stack(
                [
                    nn.functional.pad(frame_rois, (0, 0, 0, rois - len(frame_rois)))
                    for frame_rois in level.split(self._roi_counts)
                ]
            )
            for _, level in sorted(levels.items())
        ]
        counts = torch.tensor(self._roi_counts, device=padded[0].device)
        return padded, torch.arange(rois, device=counts.device) < counts[:, None]


def inputs_of_frame(batch_inputs_dict: Mapping[str, Any], frame: int) -> dict[str, Any]:
    """Return the points and voxels of one frame of a batch, as a batch of one.

    Args:
        batch_inputs_dict: What `Det3DDataPreprocessor` makes of a batch.
        frame: Position in the batch.
    """
    voxels = batch_inputs_dict['voxels']
    in_frame = voxels['coors'][:, 0] == frame
    part = {name: values[in_frame] for name, values in voxels.items()}
    part['coors'][:, 0] = 0  # indexing with a mask copied it
    return {'points': [batch_inputs_dict['points'][frame]], 'voxels': part}
