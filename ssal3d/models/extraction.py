"""What a detector computes for frame selection beyond its final boxes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from ssal3d.errors import UserError, unknown_name
from ssal3d.predictions.schema import REQUIRED

GRADIENT_LAYERS = ('shared_fc', 'roi_cls', 'rpn_conv_cls')
# Columns that need nothing of a detector but its boxes.
COMPUTED_FOR_ALL = frozenset((*REQUIRED, 'num_points', 'lidar2img', 'image_shape'))


@dataclass(frozen=True)
class Extraction:
    """Columns of the prediction contract to fill, and how.

    Attributes:
        columns: Names of columns; what none of them needs is not computed.
        mc_passes: Monte-Carlo dropout passes M over the fully connected layers of the RoI branch.
        mc_seed: Seed of the dropout masks.
        gradient: Layer whose weight's gradient is the embedding: ``'shared_fc'`` (CRB: second shared layer of the RoI
            branch), ``'roi_cls'`` (BADGE: last hidden layer of its score branch) or ``'rpn_conv_cls'`` (BADGE code).
        projection: Both sides of the gradient matrix are projected to this many dimensions; None keeps all.
        projection_seed: Seed of the projections.
    """

    columns: frozenset[str] = frozenset()
    mc_passes: int = 5
    mc_seed: int = 0
    gradient: str | None = None
    projection: int | None = 64
    projection_seed: int = 0

    @classmethod
    def of(cls, columns: Iterable[str], options: Mapping[str, Any]) -> 'Extraction':
        """Build from columns and a sampler's options (`ActiveSampler.extraction`).

        Raises:
            UserError: If an option is unknown, or ``gradient`` is wanted without a layer.
        """
        known = [field.name for field in fields(cls) if field.name != 'columns']
        for name, value in options.items():
            if name not in known:
                raise unknown_name('extraction option', name, known)
            if name == 'gradient' and value not in GRADIENT_LAYERS:
                raise unknown_name('gradient layer', str(value), list(GRADIENT_LAYERS))
        found = cls(frozenset(columns), **options)
        if found.wants_gradient and found.gradient is None:
            raise UserError(
                "the column 'gradient' was asked for without its layer; put active_sampler=dict(type='CRBSampler') or "
                'BADGESampler into the config, or leave the column out'
            )
        return found

    @property
    def wants_gradient(self) -> bool:
        """Whether gradient embeddings are computed."""
        return 'gradient' in self.columns

    @property
    def wants_passes(self) -> bool:
        """Whether Monte-Carlo passes are made: for their columns, or as targets of CRB's gradient."""
        return bool(self.columns & {'mc_scores', 'mc_residuals'}) or (
            self.wants_gradient and self.gradient == 'shared_fc'
        )

    @property
    def wants_rois(self) -> bool:
        """Whether the features of all RoIs are kept."""
        return any(name.startswith('roi_') and name != 'roi_index' for name in self.columns)

    @property
    def metadata(self) -> dict[str, Any]:
        """What readers of the columns must know."""
        found: dict[str, Any] = {'mc_passes': self.mc_passes} if self.wants_passes else {}
        if self.wants_gradient:
            found |= {'gradient_layer': self.gradient, 'gradient_projection': self.projection}
        return found


def provided_columns(detector: type) -> frozenset[str] | None:
    """Return the columns of the contract that a detector's class can fill; None if the class does not say."""
    provides = getattr(detector, 'provides', None)
    return None if provides is None else provides | COMPUTED_FOR_ALL


def check_extraction(detector: type, extraction: Extraction) -> None:
    """Refuse what a detector cannot compute; classes that do not say what they can are found out by the first frame.

    Args:
        detector: Class of the detector.
        extraction: What is wanted.

    Raises:
        UserError: If a column or a gradient's layer cannot be given.
    """
    provided = provided_columns(detector)
    if provided is None:
        return
    for name in sorted(extraction.columns - provided):
        raise UserError(
            f"{detector.__name__} gives no column '{name}'; it gives {', '.join(sorted(provided))}. Ask for "
            'those (--fields), choose a sampler that reads them, or a detector with RoIs such as ActivePointVoxelRCNN'
        )
    layers = getattr(detector, 'gradient_layers', GRADIENT_LAYERS)
    if extraction.wants_gradient and extraction.gradient not in layers:
        raise UserError(
            f"{detector.__name__} gives no column 'gradient' of the layer {extraction.gradient!r}, it has "
            f'{", ".join(layers)}; choose a sampler that reads it, e.g. BADGESampler with layer={layers[0]!r}'
        )


@contextmanager
def extracting(network: Any, extraction: Extraction) -> Iterator[None]:
    """Set a detector's ``extraction`` for a while; detectors without this attribute give what they always give."""
    before = getattr(network, 'extraction', None)
    if before is not None:
        network.extraction = extraction
    try:
        yield
    finally:
        if before is not None:
            network.extraction = before
