// The interactive 3D view of a report. It reads the JSON in #scenes and builds the view in #viewer; without WebGL it says
// so, and the pictures of the page remain. It asks no network for anything.
import {
  BufferAttribute,
  BufferGeometry,
  Group,
  LineBasicMaterial,
  LineSegments,
  PerspectiveCamera,
  Points,
  PointsMaterial,
  Scene,
  Spherical,
  Vector3,
  WebGLRenderer,
} from 'three';
import { OrbitControls } from 'three/examples/jsm/controls/OrbitControls.js';

const EDGES = [0, 1, 1, 2, 2, 3, 3, 0, 4, 5, 5, 6, 6, 7, 7, 4, 0, 4, 1, 5, 2, 6, 3, 7];
const STOPS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]]; // viridis

// A colour for a value in [0, 1].
function colour(value) {
  const place = Math.min(Math.max(value, 0), 0.9999) * (STOPS.length - 1);
  const low = Math.floor(place);
  return STOPS[low].map((from, channel) => (from + (STOPS[low + 1][channel] - from) * (place - low)) / 255);
}

// Points were written as little-endian int16 triples, then one intensity byte each.
function decode(frame) {
  const text = atob(frame.points);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const whole = new DataView(bytes.buffer);
  const places = new Float32Array(3 * frame.count);
  for (let k = 0; k < places.length; k++) places[k] = whole.getInt16(2 * k, true) * frame.scale;
  return { places, intensity: bytes.subarray(6 * frame.count) };
}

function colours(cloud, by) {
  const found = new Float32Array(cloud.places.length);
  for (let k = 0; k < cloud.intensity.length; k++) {
    const value = by === 'height' ? (cloud.places[3 * k + 2] + 2.5) / 4.5 : Math.sqrt(cloud.intensity[k] / 255);
    found.set(colour(value), 3 * k);
  }
  return found;
}

// Gravity-centred boxes (x, y, z, dx, dy, dz, yaw) as line segments, with a line from the centre to the nose.
function outlines(boxes, colourName, lifted) {
  const lines = [];
  for (const [x, y, z, dx, dy, dz, yaw] of boxes) {
    const [cos, sin] = [Math.cos(yaw), Math.sin(yaw)];
    const at = (a, b, c) => [x + a * cos - b * sin, y + a * sin + b * cos, z + c + lifted];
    const corners = [-1, 1].flatMap((up) =>
      [[1, 1], [1, -1], [-1, -1], [-1, 1]].map(([ahead, left]) => at((ahead * dx) / 2, (left * dy) / 2, (up * dz) / 2)),
    );
    for (const corner of EDGES) lines.push(...corners[corner]);
    lines.push(...at(0, 0, 0), ...at(dx / 2, 0, 0));
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute('position', new BufferAttribute(new Float32Array(lines), 3));
  return new LineSegments(geometry, new LineBasicMaterial({ color: colourName }));
}

function element(name, properties, parent) {
  return parent.appendChild(Object.assign(document.createElement(name), properties));
}

function start(root, frames) {
  const bar = element('div', { className: 'bar' }, root);
  const canvas = element('canvas', { tabIndex: 0 }, root);
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', 'Point cloud with boxes; arrow keys turn it, plus and minus zoom, Home resets');
  const hint = element('p', { className: 'hint', textContent: 'Click or tap the scene, then drag to turn, pinch or wheel to zoom. Keys: arrows, + and -, Home.' }, root);
  const renderer = new WebGLRenderer({ canvas, antialias: true, preserveDrawingBuffer: true });
  renderer.setClearColor(0x11151a);
  renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
  const scene = new Scene();
  const camera = new PerspectiveCamera(50, 1, 0.1, 1000);
  camera.up.set(0, 0, 1);
  const controls = new OrbitControls(camera, canvas);
  controls.enabled = false; // until somebody touches the scene: it must not catch the scrolling of the page
  canvas.style.touchAction = 'pan-y';
  let content = null;
  let pending = false;

  const draw = () => {
    pending = false;
    renderer.render(scene, camera);
  };
  const redraw = () => {
    if (!pending) requestAnimationFrame(draw);
    pending = true;
  };
  const wake = () => {
    controls.enabled = true;
    canvas.style.touchAction = 'none';
    hint.hidden = true;
  };
  const look = (fromAbove) => {
    controls.target.set(frames[select.value].middle[0], frames[select.value].middle[1], -2);
    const back = frames[select.value].reach;
    camera.position.copy(controls.target).add(fromAbove ? new Vector3(-0.01, 0, 1.6 * back) : new Vector3(-0.62 * back, 0, 0.32 * back));
    controls.update();
    redraw();
  };
  const turn = (sideways, upwards, nearer) => {
    const offset = camera.position.clone().sub(controls.target).applyAxisAngle(new Vector3(1, 0, 0), -Math.PI / 2);
    const place = new Spherical().setFromVector3(offset);
    place.theta += sideways;
    place.phi = Math.min(Math.max(place.phi + upwards, 0.01), Math.PI / 2);
    place.radius *= nearer;
    offset.setFromSpherical(place).applyAxisAngle(new Vector3(1, 0, 0), Math.PI / 2);
    camera.position.copy(controls.target).add(offset);
    controls.update();
    redraw();
  };

  const select = element('select', { ariaLabel: 'frame' }, bar);
  frames.forEach((frame, k) => element('option', { value: k, textContent: frame.title }, select));
  const shade = element('select', { ariaLabel: 'colour of the points' }, bar);
  for (const by of ['height', 'intensity']) element('option', { value: by, textContent: `colour: ${by}` }, shade);
  element('button', { type: 'button', textContent: 'from above', onclick: () => look(true) }, bar);
  element('button', { type: 'button', textContent: 'from behind', onclick: () => look(false) }, bar);
  const layers = element('span', { className: 'layers' }, bar);

  const show = () => {
    const frame = frames[select.value];
    const cloud = decode(frame);
    if (content) {
      scene.remove(content);
      content.traverse((part) => part.geometry && (part.geometry.dispose(), part.material.dispose()));
    }
    content = new Group();
    const geometry = new BufferGeometry();
    geometry.setAttribute('position', new BufferAttribute(cloud.places, 3));
    geometry.setAttribute('color', new BufferAttribute(colours(cloud, shade.value), 3));
    content.add(new Points(geometry, new PointsMaterial({ size: 0.09, vertexColors: true })));
    layers.replaceChildren();
    frame.layers.forEach((layer, k) => {
      const lines = outlines(layer.boxes, layer.colour, 0.03 * k); // lifted, so that equal boxes stay apart
      content.add(lines);
      const label = element('label', {}, layers);
      const box = element('input', { type: 'checkbox', checked: true }, label);
      box.onchange = () => {
        lines.visible = box.checked;
        redraw();
      };
      element('i', { className: 'swatch' }, label).style.background = layer.colour;
      label.append(`${layer.name} (${layer.boxes.length})`);
    });
    scene.add(content);
    canvas.dataset.points = frame.count;
    redraw();
  };
  select.onchange = () => {
    show();
    look(false);
  };
  shade.onchange = show;
  canvas.addEventListener('pointerdown', wake, { capture: true });
  canvas.addEventListener('focus', wake);
  canvas.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: [-0.1, 0, 1], ArrowRight: [0.1, 0, 1], ArrowUp: [0, -0.06, 1], ArrowDown: [0, 0.06, 1], '+': [0, 0, 0.9], '-': [0, 0, 1.1] }[event.key];
    if (step) turn(...step);
    else if (event.key === 'Home') look(false);
    else return;
    event.preventDefault();
  });
  controls.addEventListener('change', redraw);
  new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = canvas;
    if (!width || !height) return;
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    redraw();
  }).observe(canvas);
  show();
  look(false);
}

const root = document.getElementById('viewer');
const scenes = document.getElementById('scenes');
if (root && scenes) {
  root.replaceChildren();
  const probe = document.createElement('canvas').getContext('webgl2'); // asked first: three.js reports a failure as an error
  if (probe) {
    probe.getExtension('WEBGL_lose_context')?.loseContext();
    start(root, JSON.parse(scenes.textContent).frames);
  } else {
    element('p', { className: 'hint', textContent: 'This browser shows no WebGL; the pictures show the same frames.' }, root);
  }
}
