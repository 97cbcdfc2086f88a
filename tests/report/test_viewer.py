"""Data of the 3D view: as exact as it is said to be, and unable to leave its script element."""

import base64
import json
import re

import numpy as np

from ssal3d.report.html import resource
from ssal3d.report.scenes import Layer, View
from ssal3d.report.viewer import MOST_POINTS, as_json, frame_data, intensities
from tests.helpers.paths import ROOT


def test_points_come_back_within_half_a_step_of_their_quantisation():
    rng = np.random.default_rng(0)
    points = np.column_stack((rng.uniform(-80, 80, (500, 3)), rng.uniform(0, 1, 500))).astype(np.float32)
    data = frame_data('1', View(points, [Layer('true', np.array([[1, 2, 3, 4, 2, 1.5, 0.123456]]), '#00ff00')]))
    content = base64.b64decode(data['points'])
    assert len(content) == 500 * 7
    places = np.frombuffer(content[: 500 * 6], '<i2').reshape(500, 3) * data['scale']
    assert np.abs(places - points[:, :3]).max() <= data['scale'] / 2 + 1e-6
    assert data['scale'] < 0.0025
    assert data['layers'] == [{'name': 'true', 'colour': '#00ff00', 'boxes': [[1, 2, 3, 4, 2, 1.5, 0.12]]}]


def test_large_scans_are_thinned_and_scans_without_intensity_are_grey():
    points = np.zeros((3 * MOST_POINTS + 1, 3), dtype=np.float32)
    assert frame_data('1', View(points))['count'] <= MOST_POINTS
    assert set(intensities(points).tolist()) == {128}


def test_names_cannot_end_the_script_element():
    text = as_json({'name': '</script><script>alert(1)</script><!--'})
    assert '<' not in text
    assert json.loads(text)['name'].startswith('</script>')


def test_the_bundle_is_that_of_the_version_which_the_sources_and_the_docs_name():
    version = json.loads((ROOT / 'tools/viewer/package.json').read_text())['devDependencies']['three']
    assert f'three.js {version}' in (ROOT / 'docs/dependencies.md').read_text()
    assert f'"{version.split(".")[1]}"' in resource('viewer.js')
    assert 'three.js authors' in resource('viewer.LICENSE.txt')
    assert not re.search(r'</script|<!--', resource('viewer.js'), re.IGNORECASE)
