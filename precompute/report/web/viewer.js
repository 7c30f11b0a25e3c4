// The viewer: frames, colours and the cursor. What it shows is in window.depthvar, for scripts and tests (docs/report.md).

const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("viewer-data").textContent);
const QUANTITIES = { depth: "depth", sigma: "σ", weight: "weight" };
const TABLES = Object.fromEntries(
  Object.entries(DATA.tables).map(([name, text]) => [name, Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
const DEFAULTS = Object.fromEntries(
  Object.entries(DATA.scales).map(([name, { low, high, is_log, table }]) => [name, { low, high, isLog: is_log, table }]));

const state = {
  kernel: { ...DATA.kernel },
  scales: structuredClone(DEFAULTS),
  form: $("form").value,
  cursor: { u: 0, v: 0 },
  zoom: { factor: 1, u: 0, v: 0 }, // the part that is shown: its left upper corner
};
const shown = (window.depthvar = { state, frame: null, depth: null, variance: null, sigma: null, weight: null, cached: null, ready: null });
const layers = {}; // by quantity, a canvas of the frame's own pixels
let edgeMaps = new Map(); // by window: the part of σ that takes time

// Numbers as the charts write them.
function text(value) {
  if (!Number.isFinite(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 10000)) return value.toExponential(1).replace("e", "·10^");
  return String(Number(value.toPrecision(3)));
}

// Frames

async function openFrame(index) {
  const turn = (openFrame.turn = (openFrame.turn ?? 0) + 1);
  const given = DATA.frames[index], count = given.height * given.width;
  const depth = await decodeMap(given.depth, count, DATA.mantissaBits);
  const variance = given.variance && (await decodeMap(given.variance, count, DATA.mantissaBits));
  const image = document.querySelector(`[data-frame="${index}"] img[data-map="image"]`);
  if (image) await image.decode();
  if (turn !== openFrame.turn) return; // another frame was asked for meanwhile
  const frame = { ...given, depth, variance };
  edgeMaps = new Map();
  Object.assign(shown, { frame, depth });
  if (DATA.kernel) frame.rays = raysOf(frame, DATA.kernel.least);
  $("stride").textContent = frame.stride;
  document.querySelector('[data-pane="image"]').hidden = !image;
  for (const pane of document.querySelectorAll(".pane")) {
    Object.assign(pane.querySelector("canvas"), { width: frame.width, height: frame.height });
    layers[pane.dataset.pane] = Object.assign(document.createElement("canvas"), { width: frame.width, height: frame.height });
  }
  if (image) layers.image.getContext("2d").drawImage(image, 0, 0, frame.width, frame.height);
  paint("depth");
  Object.assign(state.zoom, { factor: 1, u: 0, v: 0 });
  $("zoom").textContent = "1×";
  state.cursor = { u: frame.width >> 1, v: frame.height >> 1 };
  start();
}

function varianceBy(kernel) {
  const { frame } = shown;
  if (!kernel) return frame.variance;
  const minValid = Math.min(kernel.minValid, kernel.window ** 2);
  if (!edgeMaps.has(kernel.window)) edgeMaps.set(kernel.window, edgesOf(frame, frame.rays.distance, kernel.window, minValid));
  return varianceOf(frame, frame.rays, edgeMaps.get(kernel.window), kernel);
}

function mapsBy(kernel) {
  const variance = varianceBy(kernel), sigma = sigmaOf(shown.frame, variance, DATA.limits);
  return { variance, sigma, weight: weightsOf(shown.frame, sigma, state.form, DATA.weights) };
}

/** Compute the cache's own σ and weights again: the frame or the form of the weight is another one. */
function start() {
  const cached = mapsBy(DATA.kernel);
  shown.cached = { ...cached, summary: summaryOf(shown.frame, cached.sigma, cached.weight) };
  update();
}

function update() {
  Object.assign(shown, mapsBy(DATA.kernel && state.kernel));
  paint("sigma");
  paint("weight");
  draw();
  compare();
}

// Colours

function paint(quantity) {
  const { frame } = shown, values = shown[quantity], table = TABLES[state.scales[quantity].table], scale = state.scales[quantity];
  const context = layers[quantity].getContext("2d"), pixels = context.createImageData(frame.width, frame.height);
  const { unknown, far } = DATA.colours, { least, most } = DATA.limits, places = placesOf(values, scale), { data } = pixels;
  for (let i = 0; i < values.length; i++) {
    const z = frame.depth[i], valid = z >= least && z <= most && values[i] > 0;
    const colour = valid ? table : z > most ? far : unknown, place = valid ? 3 * places[i] : 0;
    data[4 * i] = colour[place];
    data[4 * i + 1] = colour[place + 1];
    data[4 * i + 2] = colour[place + 2];
    data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  const pane = document.querySelector(`[data-pane="${quantity}"]`);
  const stops = Array.from({ length: 17 }, (_, k) => `rgb(${[...table.slice(3 * Math.min(16 * k, 255), 3 * Math.min(16 * k, 255) + 3)]})`);
  pane.querySelector(".ramp").style.background = `linear-gradient(to right, ${stops})`;
  pane.querySelector(".low").textContent = text(scale.low);
  pane.querySelector(".high").textContent = text(scale.high);
}

function draw() {
  const { frame } = shown, { factor, u, v } = state.zoom;
  for (const pane of document.querySelectorAll(".pane")) {
    const context = pane.querySelector("canvas").getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(layers[pane.dataset.pane], u, v, frame.width / factor, frame.height / factor, 0, 0, frame.width, frame.height);
  }
  point();
}

// The cursor

function point(spoken = false) {
  const { frame, depth, sigma, weight } = shown, { factor } = state.zoom, { u, v } = state.cursor, i = v * frame.width + u;
  for (const cross of document.querySelectorAll(".cross")) {
    cross.style.left = `${(100 * (u + 0.5 - state.zoom.u) * factor) / frame.width}%`;
    cross.style.top = `${(100 * (v + 0.5 - state.zoom.v) * factor) / frame.height}%`;
  }
  const z = depth[i], kind = z > DATA.limits.most ? (z === Infinity ? "far" : `far, ${text(z)} m`) : z >= DATA.limits.least ? `${text(z)} m` : "unknown";
  $("value-place").textContent = `${u * frame.stride}, ${v * frame.stride}`;
  $("value-depth").textContent = kind;
  $("value-sigma").textContent = sigma[i] > 0 ? `${text(sigma[i])} m` : "none";
  $("value-ratio").textContent = sigma[i] > 0 ? `${text((100 * sigma[i]) / z)} %` : "none";
  $("value-weight").textContent = sigma[i] > 0 ? text(weight[i]) : "none";
  if (spoken) say(`column ${u * frame.stride}, row ${v * frame.stride}: depth ${kind}, sigma ${$("value-sigma").textContent}, weight ${$("value-weight").textContent}`);
}

function say(words) {
  clearTimeout(say.timer);
  say.timer = setTimeout(() => ($("spoken").textContent = words), 150);
}

function moveTo(u, v, spoken) {
  const { frame } = shown, { zoom } = state, limit = (value, most) => Math.min(Math.max(value, 0), most);
  state.cursor = { u: limit(Math.floor(u), frame.width - 1), v: limit(Math.floor(v), frame.height - 1) };
  if (spoken && zoom.factor > 1) { // what is shown follows the keys
    const across = frame.width / zoom.factor, down = frame.height / zoom.factor;
    const u0 = limit(zoom.u, state.cursor.u), v0 = limit(zoom.v, state.cursor.v);
    zoom.u = Math.max(u0, state.cursor.u + 1 - across);
    zoom.v = Math.max(v0, state.cursor.v + 1 - down);
    draw();
  }
  point(spoken);
}

function zoomBy(change) {
  const { frame } = shown, { zoom, cursor } = state;
  const factor = change ? Math.min(Math.max(zoom.factor * change, 1), 16) : 1;
  const place = (at, start, length) => {
    const part = ((at + 0.5 - start) * zoom.factor) / length; // of the pane: the cursor stays there
    return Math.round(Math.min(Math.max(at + 0.5 - (part * length) / factor, 0), length - length / factor));
  };
  Object.assign(zoom, { u: place(cursor.u, zoom.u, frame.width), v: place(cursor.v, zoom.v, frame.height), factor });
  $("zoom").textContent = `${factor}×`;
  draw();
}

function fromPointer(event) {
  const canvas = event.target.closest(".pane")?.querySelector("canvas");
  if (!canvas) return;
  const box = canvas.getBoundingClientRect(), { frame } = shown, { zoom } = state;
  moveTo(zoom.u + (((event.clientX - box.left) / box.width) * frame.width) / zoom.factor,
    zoom.v + (((event.clientY - box.top) / box.height) * frame.height) / zoom.factor);
}

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  const step = KEYS[event.key], far = event.shiftKey ? 10 : 1;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (step) moveTo(state.cursor.u + far * step[0], state.cursor.v + far * step[1], true);
  else if (event.key === "+" || event.key === "=") zoomBy(2);
  else if (event.key === "-") zoomBy(0.5);
  else if (event.key === "0") zoomBy(0);
  else return;
  event.preventDefault();
}

// What the parameters change

function compare() {
  const { sigma, weight, frame, cached } = shown, now = summaryOf(frame, sigma, weight);
  let changed = 0, usable = 0;
  for (let i = 0; i < sigma.length; i++)
    if (sigma[i] > 0) {
      usable++;
      changed += Math.abs(sigma[i] / cached.sigma[i] - 1) > 0.01;
    }
  for (const name of Object.keys(now)) {
    $(`cache-${name}`).textContent = text(cached.summary[name]);
    $(`now-${name}`).textContent = text(now[name]);
  }
  $("now-changed").textContent = `${text((100 * changed) / (usable || 1))} %`;
}
