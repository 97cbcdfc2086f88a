"""How many boxes and hours a target costs, from the learning curve so far."""

from ssal3d.planning.learning_curve import Curve, Need, boxes_for, fit_curve

__all__ = ['Curve', 'Need', 'boxes_for', 'fit_curve']
