"""The mathematics of the samplers: functions of arrays, without files, models and MMDetection3D."""

from ssal3d.active.functional.category_similarity import category_distances
from ssal3d.active.functional.collaborative_greedy import (
    ClassCounters,
    Limits,
    collaborative_greedy,
    count_precision,
    inverse_frequency_caps,
    manual_caps,
)
from ssal3d.active.functional.density_balance import DensityBalance, point_densities
from ssal3d.active.functional.diversity import Similarity, unit_rows
from ssal3d.active.functional.ensemble import merge_predictions, suppress
from ssal3d.active.functional.information import Information, lazy_greedy
from ssal3d.active.functional.k_centre import k_centre_order
from ssal3d.active.functional.k_medoids import k_centres, k_medoids
from ssal3d.active.functional.label_entropy import label_entropy
from ssal3d.active.functional.seeding import seeding_order
from ssal3d.active.functional.tangent_kernel import TangentKernel
from ssal3d.active.functional.uncertainty import binary_entropy, frame_max, frame_mean, softmax_entropy

__all__ = [
    'ClassCounters',
    'DensityBalance',
    'Information',
    'Limits',
    'Similarity',
    'TangentKernel',
    'binary_entropy',
    'category_distances',
    'collaborative_greedy',
    'count_precision',
    'frame_max',
    'frame_mean',
    'inverse_frequency_caps',
    'k_centre_order',
    'k_centres',
    'k_medoids',
    'label_entropy',
    'lazy_greedy',
    'manual_caps',
    'merge_predictions',
    'point_densities',
    'seeding_order',
    'softmax_entropy',
    'suppress',
    'unit_rows',
]
