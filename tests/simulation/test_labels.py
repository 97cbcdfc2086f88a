import numpy as np
import pytest

from ssal3d.simulation.camera import IMAGE_SIZE, project, to_camera
from ssal3d.simulation.furniture import wall
from ssal3d.simulation.labels import DONT_CARE, clipped, extent, image_box, label, occlusion_level, truncation
from ssal3d.simulation.materials import Material
from ssal3d.simulation.plot import Thing
from ssal3d.simulation.ray_casting import Caster
from ssal3d.simulation.vehicles import car

SIZE = (4.2, 1.7, 1.5)
MANY = np.full(9, 1000)


def a_car(s: float, d: float = 0.0, turn: float = 0.0) -> Thing:
    return Thing(car('sedan', Material.PAINT_LIGHT), SIZE, s, d, turn=turn, name='Car')


def labels_of(moment, points=MANY):
    return label(moment, Caster(moment.mesh), points)


def surface(mesh, rng, count=400):
    """Points all over every triangle."""
    weights = rng.dirichlet((1, 1, 1), size=(len(mesh.faces), count))
    corners = rng.permutation(np.eye(3))
    weights[:, :3] = corners
    return np.einsum('fck,fkd->fcd', weights, mesh.vertices[mesh.faces]).reshape(-1, 3)


def test_an_open_car_is_visible_and_where_it_was_put(look):
    objects = labels_of(look(a_car(20.0, 2.0)))
    assert objects.names.tolist() == ['Car']
    assert objects.occluded.tolist() == [0]
    assert objects.truncated.tolist() == [0]
    np.testing.assert_allclose(objects.dimensions[0], (1.5, 1.7, 4.2), atol=0.08)  # h w l; the ego vehicle tilts
    np.testing.assert_allclose(objects.location[0, [0, 2]], (-2.0, 20.0 - 0.27), atol=0.7)
    assert objects.location[0, 1] == pytest.approx(1.65, abs=0.35)
    assert objects.rotation_y[0] == pytest.approx(-np.pi / 2, abs=0.1)
    assert objects.alpha[0] == pytest.approx(objects.rotation_y[0] - np.arctan2(*objects.location[0, [0, 2]]), abs=1e-9)


@pytest.mark.parametrize(('turn', 'rotation_y'), [(0, -np.pi / 2), (np.pi / 2, -np.pi), (-np.pi / 2, 0), (0.5, -2.07)])
def test_rotation_y(look, turn, rotation_y):
    found = labels_of(look(a_car(25.0, turn=turn))).rotation_y[0]
    assert np.cos(found - rotation_y) > np.cos(0.1)


def test_occlusion_by_a_wall(look):
    def wall_at(d: float) -> Thing:
        return Thing(wall(), (0.3, 8.0, 4.0), 12.0, d)

    open_car = a_car(25.0)
    hidden = labels_of(look(open_car, wall_at(0.0)))
    assert len(hidden) == 0 or hidden.occluded[0] == 3
    assert len(labels_of(look(open_car, wall_at(0.0)), np.zeros(9, int))) == 0, 'no return, nothing to see: no region'
    assert labels_of(look(open_car, wall_at(20.0))).occluded.tolist() == [0]
    half = labels_of(look(open_car, wall_at(4.0)))
    assert half.occluded[0] in (1, 2)


def test_few_returns_make_a_dontcare_region(look):
    objects = labels_of(look(a_car(25.0)), np.array([4]))
    assert objects.names.tolist() == [DONT_CARE]
    assert objects.occluded.tolist() == [-1]
    assert objects.dimensions.tolist() == [[-1, -1, -1]]
    assert objects.location.tolist() == [[-1000, -1000, -1000]]
    assert (objects.bbox[0, 2:] > objects.bbox[0, :2]).all()


def test_occlusion_levels_are_ordered():
    assert [occlusion_level(share) for share in (1.0, 0.7, 0.3, 0.0)] == [0, 1, 2, 3]


@pytest.mark.parametrize(('s', 'd', 'turn'), [(8.0, 0.0, 0.3), (30.0, 5.0, 2.0), (4.0, 3.5, 0.0), (3.0, 1.5, 0.4)])
def test_image_box_is_the_projection_of_the_surface(look, s, d, turn):
    moment = look(a_car(s, d, turn))
    box = clipped(image_box(moment.meshes[0]))
    points = to_camera(surface(moment.meshes[0], np.random.default_rng(0)))
    pixels = project(points[points[:, 2] > 0.3])
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    limit = np.array(IMAGE_SIZE) - 1
    brute = np.concatenate((np.clip(low, 0, limit), np.clip(high, 0, limit)))
    size = np.maximum(box[2:] - box[:2], 1).max()
    np.testing.assert_allclose(box, brute, atol=max(0.02 * size, 1.0))


def test_truncation_is_the_share_outside():
    assert truncation(np.array([100.0, 100.0, 200.0, 200.0])) == 0
    assert truncation(np.array([-100.0, 100.0, 100.0, 200.0])) == pytest.approx(0.5)
    assert truncation(np.array([-300.0, 100.0, -100.0, 200.0])) == 1


def test_a_car_at_the_border_is_truncated(look):
    objects = labels_of(look(a_car(8.0, 7.0)))
    assert 0.1 < objects.truncated[0] < 0.97
    assert objects.bbox[0, 0] == 0


def test_boxes_hold_the_points_of_their_objects(frames):
    """Of the points without noise, in the box of the label inflated by 5 cm."""
    checked = 0
    for frame in frames:
        moment, real = frame.snapshot, frame.objects[frame.objects.names != DONT_CARE]
        owners = moment.owners[frame.scan.faces]
        found = [extent(mesh, heading) for mesh, heading in zip(moment.meshes, moment.headings)]
        places = np.array([one.location for one in found]).reshape(-1, 3)
        for row in range(len(real)):
            index = int(np.linalg.norm(places - real.location[row], axis=1).argmin())
            assert moment.objects[index].name == real.names[row]
            points = to_camera(frame.scan.exact[owners == index]) - real.location[row]
            cosine, sine = np.cos(real.rotation_y[row]), np.sin(real.rotation_y[row])
            along, aside = points[:, 0] * cosine - points[:, 2] * sine, points[:, 0] * sine + points[:, 2] * cosine
            height, width, length = real.dimensions[row]
            inside = (np.abs(along) < length / 2 + 0.05) & (np.abs(aside) < width / 2 + 0.05)
            inside &= (points[:, 1] < 0.05) & (points[:, 1] > -height - 0.05)
            assert len(points) >= 5
            assert inside.mean() >= 0.99
            checked += 1
    assert checked > 40
