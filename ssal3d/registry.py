"""The registries of what is ours alone; everything else registers in MMDetection3D's own registries."""

from mmengine.registry import Registry

ACTIVE_SAMPLERS = Registry('active sampler', scope='ssal3d', locations=['ssal3d.active'])
ANNOTATORS = Registry('annotator', scope='ssal3d', locations=['ssal3d.loop.annotators'])
STAGES = Registry('stage', scope='ssal3d', locations=['ssal3d.loop.stages'])
