// σ² and weights in the browser, as docs/method.md and depthvar.loss.weights define them. Pure functions on typed
// arrays; a map has height · width numbers, row by row. tests/test_report_browser.py compares them with the library.

/** Decode a map that tiles.encode wrote: a Float32Array. */
async function decodeMap(text, count, mantissaBits) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const bits = new Uint32Array(count);
  let code = 0;
  for (let i = 0; i < count; i++) {
    code = (code + planes[i] + (planes[count + i] << 8) + (planes[2 * count + i] << 16)) & 0xffffff;
    bits[i] = code << (23 - mantissaBits);
  }
  return new Float32Array(bits.buffer);
}

/** Steps 1 and 2: for each pixel the distance along its ray (NaN where unknown) and 1 / d_z. */
function raysOf(frame, least) {
  const [fx, fy, cx, cy] = frame.camera;
  const { height, width, depth } = frame;
  const distance = new Float64Array(depth.length), slant = new Float64Array(depth.length);
  for (let v = 0, i = 0; v < height; v++)
    for (let u = 0; u < width; u++, i++) {
      slant[i] = Math.sqrt(((u - cx) / fx) ** 2 + ((v - cy) / fy) ** 2 + 1);
      distance[i] = depth[i] >= least ? depth[i] * slant[i] : NaN;
    }
  return { distance, slant };
}

/** Step 3: half the range from the 5 % to the 95 % quantile of the distances in each pixel's window. */
function edgesOf({ height, width }, distance, window, minValid) {
  const edges = new Float64Array(height * width), reach = (window - 1) / 2;
  const low = new Float64Array(3), high = new Float64Array(3); // the three smallest and the three largest, in order
  for (let v = 0, i = 0; v < height; v++)
    for (let u = 0; u < width; u++, i++) {
      low.fill(Infinity);
      high.fill(-Infinity);
      let count = 0;
      for (let y = Math.max(0, v - reach); y <= Math.min(height - 1, v + reach); y++)
        for (let x = Math.max(0, u - reach); x <= Math.min(width - 1, u + reach); x++) {
          const t = distance[y * width + x];
          if (!(t > 0)) continue; // NaN
          count++;
          if (t < low[2]) {
            const rank = t < low[0] ? 0 : t < low[1] ? 1 : 2;
            if (rank < 2) low[2] = low[1];
            if (rank < 1) low[1] = low[0];
            low[rank] = t;
          }
          if (t > high[2]) {
            const rank = t > high[0] ? 0 : t > high[1] ? 1 : 2;
            if (rank < 2) high[2] = high[1];
            if (rank < 1) high[1] = high[0];
            high[rank] = t;
          }
        }
      const rank = Math.floor((count + 9) / 20);
      if (count < minValid && high[0] < Infinity) edges[i] = 0;
      else edges[i] = high[rank] === Infinity ? Infinity : (high[rank] - low[rank]) / 2;
    }
  return edges;
}

/** Steps 4 to 7: σ² in m²; Infinity where unknown or far. */
function varianceOf(frame, { distance, slant }, edges, kernel) {
  const { depth, camera } = frame, variance = new Float32Array(depth.length);
  const prior = kernel.lambdaPrior * Math.hypot(0.5 / camera[0], 0.5 / camera[1]);
  for (let i = 0; i < depth.length; i++) {
    if (!(depth[i] >= kernel.least && depth[i] <= kernel.most)) {
      variance[i] = Infinity;
      continue;
    }
    const t = distance[i], rounding = (kernel.quantisationStep * slant[i]) / (2 * t);
    const spread = (edges[i] / t) ** 2 + prior ** 2 + rounding ** 2;
    const x = Math.min(Math.max(spread, 1e-8), kernel.alphaClamp ** 2);
    variance[i] = (t / slant[i]) ** 2 * (x / 3 - (4 * x * x * (12 - x)) / (15 * (3 + x) ** 2));
  }
  return variance;
}

/** σ in m of σ²; NaN where there is none. */
function sigmaOf({ depth }, variance, { least, most }) {
  const sigma = new Float32Array(depth.length);
  for (let i = 0; i < depth.length; i++)
    sigma[i] = variance[i] < Infinity && depth[i] >= least && depth[i] <= most ? Math.sqrt(variance[i]) : NaN;
  return sigma;
}

/** The weight of each pixel by a form of the loss, with a mean of 1; NaN where there is no σ. */
function weightsOf({ depth }, sigma, form, { focus, relativeSigma }) {
  const usable = (i) => sigma[i] > 0 && depth[i] > 0;
  const weight = new Float32Array(depth.length).fill(NaN);
  let meanDepth = 0, count = 0;
  for (let i = 0; i < depth.length; i++)
    if (usable(i)) {
      meanDepth += depth[i];
      count++;
    }
  meanDepth /= count || 1;
  const formula = {
    focus: (s, z) => 1 + (focus * s * s) / (s * s + (relativeSigma * z) ** 2),
    inverse_sigma: (s) => 1 / s,
    inverse_sqrt_sigma: (s) => 1 / Math.sqrt(s),
    relative: (s, z) => (relativeSigma * z) / Math.hypot(s, relativeSigma * z),
    inverse_sigma_and_depth: (s, z) => 1 / Math.hypot(s, relativeSigma * z),
    inverse_depth: (_, z) => 1 / (Math.max(z, 0.1 * meanDepth) + 1e-6),
  }[form];
  let total = 0;
  for (let i = 0; i < depth.length; i++)
    if (usable(i)) total += weight[i] = formula(sigma[i], depth[i]);
  for (let i = 0; i < depth.length; i++) weight[i] /= total / (count || 1);
  return weight;
}

/** The place of each number in a table of 256 colours, as Scale.places; 0 for NaN. */
function placesOf(values, { low, high, isLog }) {
  const bend = isLog ? Math.log : Number, start = bend(low), factor = 255 / Math.max(bend(high) - start, 1e-12);
  const places = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const place = (bend(values[i]) - start) * factor;
    places[i] = place > 0 ? Math.min(place, 255) : 0;
  }
  return places;
}

/** What a frame's σ and weights come to: medians, and the mean weight of the pixels with the largest σ/Z. */
function summaryOf({ depth }, sigma, weight) {
  const sigmas = new Float32Array(sigma.length), ratios = new Float32Array(sigma.length);
  let usable = 0;
  for (let i = 0; i < sigma.length; i++)
    if (sigma[i] > 0) {
      sigmas[usable] = sigma[i];
      ratios[usable++] = sigma[i] / depth[i];
    }
  const [sortedSigmas, sortedRatios] = [sigmas, ratios].map((values) => values.subarray(0, usable).sort());
  const at = (values, share) => values[Math.min(usable - 1, Math.floor(share * usable))];
  const bound = at(sortedRatios, 0.95);
  let total = 0, count = 0;
  for (let i = 0; i < sigma.length; i++)
    if (Math.fround(sigma[i] / depth[i]) >= bound) {
      total += weight[i];
      count++;
    }
  return { median: at(sortedSigmas, 0.5), high: at(sortedSigmas, 0.95), ratio: at(sortedRatios, 0.5), unsure: total / count };
}
