"""One file per sampler; importing this package registers all of them."""

from ssal3d.active.samplers.badge import BADGESampler
from ssal3d.active.samplers.cal import CALSampler
from ssal3d.active.samplers.confidence import ConfidenceSampler
from ssal3d.active.samplers.coreset import CoreSetSampler
from ssal3d.active.samplers.crb import CRBSampler
from ssal3d.active.samplers.entropy import EntropySampler
from ssal3d.active.samplers.information_per_box import InformationPerBoxSampler
from ssal3d.active.samplers.kecor import KECORSampler
from ssal3d.active.samplers.llal import LLALSampler
from ssal3d.active.samplers.mc_dropout import MCDropoutSampler
from ssal3d.active.samplers.ppal import PPALSampler
from ssal3d.active.samplers.random import RandomSampler

__all__ = [
    'BADGESampler',
    'CALSampler',
    'CRBSampler',
    'ConfidenceSampler',
    'CoreSetSampler',
    'EntropySampler',
    'InformationPerBoxSampler',
    'KECORSampler',
    'LLALSampler',
    'MCDropoutSampler',
    'PPALSampler',
    'RandomSampler',
]
