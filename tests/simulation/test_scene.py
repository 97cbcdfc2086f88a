import numpy as np
import pytest

from ssal3d.simulation.frame import simulate_frame
from ssal3d.simulation.materials import Material
from ssal3d.simulation.mesh import box, loft, merge, normalised
from ssal3d.simulation.people import CLOTHES, EXTRAS, GAITS, bicycle, cyclist, pedestrian, sitting_person
from ssal3d.simulation.plot import Plot, Thing
from ssal3d.simulation.scene import build_scene
from ssal3d.simulation.sequences import step_of
from ssal3d.simulation.sizes import SIZES, draw_size
from ssal3d.simulation.styles import STYLES
from ssal3d.simulation.vehicles import PAINTS, car, truck, van

PROTOTYPES = [
    *(car(body, PAINTS[0]) for body in ('hatchback', 'sedan', 'estate', 'suv')),
    *(van(panel, PAINTS[1]) for panel in (True, False)),
    truck(PAINTS[2]),
    *(pedestrian(gait, extra, *CLOTHES) for gait in GAITS for extra in EXTRAS),
    sitting_person(CLOTHES[0]),
    bicycle(),
    *(cyclist(pedal, upright, CLOTHES[0]) for pedal in (0.0, 1.0) for upright in (True, False)),
]


@pytest.mark.parametrize('mesh', PROTOTYPES)
def test_prototypes_fill_a_unit_box_on_the_ground(mesh):
    np.testing.assert_allclose(mesh.vertices.min(axis=0), (-0.5, -0.5, 0), atol=1e-9)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), (0.5, 0.5, 1), atol=1e-9)
    assert len(mesh.faces) == len(mesh.materials) < 800
    assert set(np.unique(mesh.faces)) == set(range(len(mesh.vertices))), 'no vertex without face'


def test_prototypes_differ():
    shapes = {mesh.vertices.tobytes() + mesh.materials.tobytes() for mesh in PROTOTYPES}
    assert len(shapes) == len(PROTOTYPES)


def test_a_loft_is_closed():
    square = np.array([(0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1)], dtype=float)
    mesh = loft(np.stack((square, square + np.array([2, 0, 0]))), np.zeros((1, 4), dtype=int))
    edges = np.sort(np.concatenate((mesh.faces[:, :2], mesh.faces[:, 1:], mesh.faces[:, ::2])), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_merge_keeps_materials():
    both = merge([box((0, 0, 0), (1, 1, 1), Material.WOOD), box((3, 0, 0), (1, 2, 1), Material.METAL)])
    assert np.bincount(both.materials)[[Material.WOOD, Material.METAL]].tolist() == [12, 12]
    assert both.vertices[both.faces[both.materials == Material.METAL]].min(axis=(0, 1))[0] == 2.5
    np.testing.assert_allclose(np.ptp(normalised(both).vertices, axis=0), 1)


@pytest.mark.parametrize('name', list(SIZES))
def test_sizes_follow_the_table(name):
    rng = np.random.default_rng(0)
    drawn = np.array([draw_size(name, rng) for _ in range(3000)])
    table = SIZES[name]
    np.testing.assert_allclose(drawn.mean(axis=0), table.mean, rtol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), table.deviation, rtol=0.15)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(table.correlation[0], abs=0.08)
    assert (drawn > 0.1).all()


def test_things_do_not_overlap(flat_road):
    plot = Plot(flat_road, np.random.default_rng(0), duration=2.0)
    mesh = box((0, 0, 0.5), (1, 1, 1), Material.WOOD)
    assert plot.add(Thing(mesh, (4, 2, 1), 10, 0))
    assert not plot.add(Thing(mesh, (4, 2, 1), 12, 1)), 'stands there'
    assert not plot.add(Thing(mesh, (1, 1, 1), 5, 0, speed=3.0)), 'would run into it'
    assert plot.add(Thing(mesh, (1, 1, 1), 5, 0, turn=np.pi, speed=3.0)), 'moves away'


def test_scenes_vary_and_repeat_in_sequences():
    styles = {build_scene(0, step_of(0, frame)).style for frame in range(60)}
    assert styles <= set(STYLES)
    assert len(styles) >= 3
    first = next(frame for frame in range(64) if step_of(0, frame).length >= 3)
    a, b, other = (simulate_frame(0, frame) for frame in (first, first + 1, first + step_of(0, first).length))
    assert (a.style, a.step.sequence) == (b.style, b.step.sequence)
    assert a.step.sequence != other.step.sequence
    assert a.scan.points.tobytes() != b.scan.points.tobytes(), 'near-duplicates are no copies'


def test_labelled_objects_do_not_overlap(frames):
    from ssal3d.data.kitti_objects import KittiObjects
    from ssal3d.ops.boxes import bev_iou

    touching = 0
    for frame in frames:
        objects: KittiObjects = frame.objects[frame.objects.names != 'DontCare']
        overlap = np.triu(bev_iou(objects.upright_boxes(), objects.upright_boxes()), 1)
        touching += int((overlap > 0.05).sum())
    assert touching == 0


def test_the_plane_is_the_road(frames):
    """Exact points on asphalt near the ego vehicle lie on the written plane."""
    from ssal3d.simulation.camera import to_camera

    for frame in frames:
        material = frame.snapshot.mesh.materials[frame.scan.faces]
        near = (material == Material.ASPHALT) & (np.linalg.norm(frame.scan.exact, axis=1) < 12)
        height = to_camera(frame.scan.exact[near]) @ frame.plane[:3] + frame.plane[3]
        assert near.sum() > 300
        assert np.abs(height).max() < 0.12
        assert np.linalg.norm(frame.plane[:3]) == pytest.approx(1)
        assert frame.plane[1] < -0.99, "its normal points up: against the camera frame's y"
