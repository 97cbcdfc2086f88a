"""Calibrated scores for a query: fitted on the labelled frames of the round, applied to the pool's predictions."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process

from ssal3d.errors import UserError, unknown_name
from ssal3d.evaluation.annotated_boxes import read_annotated_boxes
from ssal3d.evaluation.right_detections import MATCHINGS
from ssal3d.evaluation.score_calibration import METHODS, fit_on_frames
from ssal3d.fileio import remove
from ssal3d.log import tell
from ssal3d.predictions import read_predictions
from ssal3d.predictions.reader import find_parts
from ssal3d.predictions.rescoring import rescore_predictions

_OPTIONS = {'method': METHODS, 'matching': MATCHINGS, 'iou': None}


def check_settings(settings: Mapping[str, Any] | None) -> None:
    """Check the option ``score_calibration`` of the loop before anything is trained.

    Args:
        settings: ``method``, ``'temperature'`` or ``'isotonic'``; optionally ``matching`` and ``iou`` (by class name),
            see `ssal3d.evaluation.right_detections.right_detections`.

    Raises:
        UserError: If an option or value is unknown, or the method is missing.
    """
    for name, value in (settings or {}).items():
        if name not in _OPTIONS:
            raise unknown_name('option of score_calibration', name, list(_OPTIONS))
        options = _OPTIONS[name]
        if options is not None and value not in options:
            raise unknown_name(f'value of score_calibration.{name}', value, list(options))
    if settings is not None and 'method' not in settings:
        raise UserError(f"score_calibration: method is missing, e.g. dict(method='{METHODS[0]}')")


def calibrate_predictions(
    config: Config, settings: Mapping[str, Any], predictions: Path, labelled: Path, out: Path, out_labelled: Path
) -> dict[str, Any]:
    """Write predictions of the pool and of the labelled frames with calibrated scores, on rank 0.

    Annotations of the frames in ``labelled`` are read, and no others.

    Args:
        config: The experiment's config.
        settings: See `check_settings`.
        predictions: Predictions of the pool.
        labelled: The same model's predictions of the labelled frames.
        out: Folder to write for the pool; what an interrupted run left there is replaced.
        out_labelled: The same for the labelled frames.

    Returns:
        Facts for the journal.
    """
    if not is_main_process():
        return {'files': {}}
    pool, data = read_predictions(labelled), config.pool_dataset
    truth = read_annotated_boxes(Path(data.data_root) / data.ann_file, pool.frame_ids.tolist(), pool.classes)
    options = {'iou': settings.get('iou'), 'matching': settings.get('matching', MATCHINGS[0])}
    calibration = fit_on_frames(settings['method'], pool, truth, **options)
    for warning in calibration.warnings:
        tell(warning, logging.WARNING)
    for source, target in ((predictions, out), (labelled, out_labelled)):
        remove(target)
        rescore_predictions(source, target, calibration, {'score_calibration': calibration.method})
    calibration.write(out / 'calibration.json')
    files = {
        'predictions': find_parts(out),
        'labelled': find_parts(out_labelled),
        'calibration': out / 'calibration.json',
    }
    return {'files': files}
