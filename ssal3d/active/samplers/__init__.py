"""One file per sampler; importing this package registers all of them."""

from ssal3d.active.samplers.cal import CALSampler
from ssal3d.active.samplers.confidence import ConfidenceSampler
from ssal3d.active.samplers.entropy import EntropySampler
from ssal3d.active.samplers.mc_dropout import MCDropoutSampler
from ssal3d.active.samplers.random import RandomSampler

__all__ = ['CALSampler', 'ConfidenceSampler', 'EntropySampler', 'MCDropoutSampler', 'RandomSampler']
