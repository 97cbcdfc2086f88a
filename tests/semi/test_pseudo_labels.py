import pytest
import torch

from ssal3d.class_names import per_class
from ssal3d.semi.pseudo_labels import class_statistics, keep_pseudo_boxes, precision_statistics

CLASSES = ('Pedestrian', 'Cyclist', 'Car')


def test_worked_examples():
    t_iou = per_class({'Car': 0.5, 'Pedestrian': 0.25, 'Cyclist': 0.25}, CLASSES, 't_iou')
    cases = [
        ('Car', 0.55, 0.50, True),
        ('Car', 0.55, 0.35, False),
        ('Pedestrian', 0.26, 0.41, True),
        ('Pedestrian', 0.25, 0.90, False),
        ('Cyclist', 0.30, 0.39, False),
        ('Cyclist', 0.30, 0.40, False),  # float32(0.4) is above 0.4
        ('Car', 0.50, 0.90, False),
    ]
    names, s, r, expected = zip(*cases)
    labels = torch.tensor([CLASSES.index(name) for name in names])
    for thresholds in (t_iou, torch.tensor(t_iou, dtype=torch.float32)):
        assert keep_pseudo_boxes(torch.tensor(s), torch.tensor(r), labels, thresholds, 0.4).tolist() == list(expected)
    empty = torch.empty(0)
    assert keep_pseudo_boxes(empty, empty, torch.empty(0, dtype=torch.long), t_iou, 0.4).tolist() == []


def test_strict_in_the_precision_of_the_scores():
    for threshold in (0.1, 0.3, 0.4, 0.7, 0.9):
        score = torch.tensor([threshold])
        for s, r in ((score, score + 0.01), (score + 0.01, score)):
            assert keep_pseudo_boxes(s, r, torch.tensor([0]), (threshold,), threshold).tolist() == [False]


def test_statistics():
    found = class_statistics(torch.tensor([0.5, 0.9, 0.4]), torch.tensor([2, 2, 0]), CLASSES)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            'pseudo/Pedestrian/count': 1,
            'pseudo/Pedestrian/score': 0.4,
            'pseudo/Cyclist/count': 0,
            'pseudo/Cyclist/score': 0,
            'pseudo/Car/count': 2,
            'pseudo/Car/score': 0.7,
        }
    )
    nothing = class_statistics(torch.empty(0), torch.empty(0, dtype=torch.long), CLASSES)
    assert all(value.item() == 0 for value in nothing.values())


def test_precision_of_the_classes_with_boxes():
    found = precision_statistics(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 5]), CLASSES)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {'pseudo/Cyclist/precision_on_labelled': 1.0, 'pseudo/Car/precision_on_labelled': 0.4}
    )
