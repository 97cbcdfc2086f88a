"""Scores that say how often a detection is right: temperature scaling and isotonic regression, class by class.

A calibration is fitted on detections in labelled frames and applied to those of the pool before a query. Both methods
keep the order of the scores within a class; isotonic regression may make some of them equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ssal3d.class_names import ALIASES
from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.annotated_boxes import AnnotatedBoxes
from ssal3d.evaluation.right_detections import MATCHINGS, FrameDetections, class_thresholds, right_in_frames
from ssal3d.fileio import SCHEMA, read_json, write_json

METHODS = ('temperature', 'isotonic')
FEWEST = 50  # detections of a class to fit it by itself
_CLIP = 1e-6
Array = NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """How the scores of one class are mapped.

    Attributes:
        x: ``(P,)`` ascending scores that go in.
        y: ``(P,)`` scores that come out; between two points the map is a straight line.
        temperature: Set instead of the points: the logit of the score is divided by it.
    """

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    temperature: float | None = None

    def __call__(self, scores: Array) -> NDArray[np.float64]:
        """Return the calibrated scores of ``(N,)`` scores in [0, 1]; no point and no temperature change nothing."""
        values: NDArray[np.float64] = np.asarray(scores, dtype=np.float64)
        if self.temperature is not None:
            return 1 / (1 + np.exp(-_logit(values) / self.temperature))
        return np.interp(values, self.x, self.y) if self.x else values


class _Curve(TypedDict):
    x: Sequence[float]
    y: Sequence[float]
    temperature: float | None


class _File(TypedDict):
    """What a file holds."""

    method: str
    classes: Mapping[str, _Curve]
    warnings: Sequence[str]


@dataclass(frozen=True)
class ScoreCalibration:
    """A fitted calibration.

    Attributes:
        method: One of `METHODS`.
        curves: By class name.
        facts: What each curve was fitted on, by class name.
        warnings: Lines for people, e.g. which class has too few detections.
    """

    method: str
    curves: Mapping[str, Curve]
    facts: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...] = ()

    def __call__(self, scores: Array, labels: NDArray[np.integer], classes: Sequence[str]) -> NDArray[np.float64]:
        """Return calibrated scores.

        Args:
            scores: ``(N,)`` scores in [0, 1].
            labels: ``(N,)`` index into ``classes``.
            classes: Class names; Car and Vehicle are one class.

        Raises:
            UserError: If the calibration lacks one of the classes.
        """
        result = np.array(scores, dtype=np.float64)
        for label, name in enumerate(classes):
            curve = self.curves.get(name, self.curves.get(ALIASES.get(name, name)))
            if curve is None:
                raise UserError(f"the calibration has no class '{name}', only {', '.join(self.curves)}; fit it again")
            rows = labels == label
            result[rows] = curve(result[rows])
        return result

    def write(self, path: str | Path) -> None:
        """Write the calibration as JSON, atomically."""
        classes = {
            name: {
                **({'x': list(curve.x), 'y': list(curve.y)} if curve.temperature is None else {}),
                **({} if curve.temperature is None else {'temperature': curve.temperature}),
                **self.facts.get(name, {}),
            }
            for name, curve in self.curves.items()
        }
        write_json(path, {'schema': SCHEMA, 'method': self.method, 'classes': classes, 'warnings': list(self.warnings)})

    @classmethod
    def read(cls, path: str | Path) -> 'ScoreCalibration':
        """Read a calibration.

        Raises:
            UserError: If the file is missing or malformed.
        """
        content = read_json(path, required=('method', 'classes'), holds=_File)
        if content['method'] not in METHODS:
            raise UserError(f'{path}: {unknown_name("method", content["method"], list(METHODS))}')
        curves, facts = {}, {}
        for name, entry in content['classes'].items():
            x, y = tuple(entry.get('x', ())), tuple(entry.get('y', ()))
            temperature = entry.get('temperature')
            ascending = list(x) == sorted(x) and list(y) == sorted(y) and all(0 <= value <= 1 for value in (*x, *y))
            if len(x) != len(y) or not ascending or (temperature is not None and not temperature > 0):
                raise UserError(
                    f"{path}: class '{name}': expected ascending x and as many ascending y in [0, 1], or a temperature "
                    'above 0'
                )
            curves[name] = Curve(x, y, temperature)
            facts[name] = {key: value for key, value in entry.items() if key not in ('x', 'y', 'temperature')}
        return cls(content['method'], curves, facts, tuple(content.get('warnings', ())))


def fit_on_frames(
    method: str,
    pool: FrameDetections,
    truth: AnnotatedBoxes,
    iou: Mapping[str, float] | None = None,
    matching: str = MATCHINGS[0],
) -> ScoreCalibration:
    """Fit a calibration on labelled frames; see `fit_calibration`.

    Args:
        method: One of `METHODS`.
        pool: Detections in labelled frames.
        truth: Annotated boxes of these frames; labels index the detections' classes.
        iou: Changes to the 3D IoU from which on a detection is right, by class name.
        matching: See `ssal3d.evaluation.right_detections.right_detections`.
    """
    right = right_in_frames(pool, truth, class_thresholds(pool.classes, iou), matching)
    return fit_calibration(method, pool.scores, pool.labels, right, pool.classes)


def fit_calibration(
    method: str,
    scores: Array,
    labels: NDArray[np.integer],
    right: NDArray[np.bool_],
    classes: Sequence[str],
    fewest: int = FEWEST,
) -> ScoreCalibration:
    """Fit a calibration to detections of which it is known whether they are right.

    A class with too few detections, or with only right or only wrong ones, takes the curve of all classes together. If
    these are too few as well, scores stay as they are. Both cases are named in ``warnings``.

    Args:
        method: ``'temperature'`` (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599) or
            ``'isotonic'`` (Zadrozny and Elkan, KDD 2002).
        scores: ``(N,)`` scores in [0, 1].
        labels: ``(N,)`` index into ``classes``.
        right: ``(N,)`` detections that are right.
        classes: Class names.
        fewest: Detections that a curve needs.

    Raises:
        UserError: If the method is unknown.
    """
    if method not in METHODS:
        raise unknown_name('method of score calibration', method, list(METHODS))
    curves, facts, warnings = {}, {}, []
    common = _fit(method, scores, right, fewest)
    for label, name in enumerate(classes):
        rows = labels == label
        curve = _fit(method, scores[rows], right[rows], fewest)
        numbers = f'{int(rows.sum())} detections, {int(right[rows].sum())} right'
        if curve is None:
            instead = 'keeps its scores' if common is None else 'takes the curve of all classes'
            warnings.append(
                f'score calibration: {name} has {numbers}, at least {fewest} of both kinds expected; {instead}'
            )
        curves[name] = curve or common or Curve()
        facts[name] = {'detections': int(rows.sum()), 'right': int(right[rows].sum()), 'alone': curve is not None}
    return ScoreCalibration(method, curves, facts, tuple(warnings))


def _fit(method: str, scores: Array, right: NDArray[np.bool_], fewest: int) -> Curve | None:
    """Return the curve, or None if there is too little to fit."""
    if len(scores) < fewest or right.all() or not right.any():
        return None
    return _fit_temperature(scores, right) if method == 'temperature' else _fit_isotonic(scores, right)


def _fit_temperature(scores: Array, right: NDArray[np.bool_]) -> Curve | None:
    from sklearn.linear_model import LogisticRegression

    # Without intercept and penalty, logistic regression on the logit is temperature scaling; its slope is 1 / T.
    model = LogisticRegression(fit_intercept=False, C=np.inf, tol=1e-8, max_iter=1000)
    slope = float(model.fit(_logit(scores)[:, None], right).coef_[0, 0])
    return Curve(temperature=1 / slope) if slope > _CLIP else None  # higher scores for wrong detections: no use


def _fit_isotonic(scores: Array, right: NDArray[np.bool_]) -> Curve:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds='clip')
    model.fit(np.asarray(scores, dtype=np.float64), right.astype(np.float64))
    return Curve(tuple(model.X_thresholds_.tolist()), tuple(model.y_thresholds_.tolist()))


def _logit(scores: Array) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(scores, dtype=np.float64), _CLIP, 1 - _CLIP)
    return np.log(clipped / (1 - clipped))
