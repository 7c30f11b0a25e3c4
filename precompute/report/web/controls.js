// The controls of the viewer: parameters, colours, frames, zoom; then the first frame is opened.

function bindKernel() {
  const names = { window: "window", lambda: "lambdaPrior", alpha: "alphaClamp" };
  const options = { window: "window", lambda: "lambda-prior", alpha: "alpha-clamp" };
  let waiting = 0;
  const show = () => {
    for (const [id, name] of Object.entries(names)) {
      $(id).value = state.kernel[name];
      if ($(`${id}-value`) !== document.activeElement) $(`${id}-value`).value = state.kernel[name];
    }
    $("command").textContent = `precompute run … ${Object.keys(names).map((id) => `--${options[id]} ${state.kernel[names[id]]}`).join(" ")}`;
  };
  const change = (id, control) => {
    const value = Number(control.value);
    if (!control.validity.valid || control.value === "") return;
    state.kernel[names[id]] = value;
    show();
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      update();
      say(`median sigma ${$("now-median").textContent} metres, in the cache ${$("cache-median").textContent}`);
    });
  };
  for (const id of Object.keys(names))
    for (const control of [$(id), $(`${id}-value`)]) control.addEventListener("input", () => change(id, control));
  $("kernel-reset").addEventListener("click", () => {
    state.kernel = { ...DATA.kernel };
    show();
    update();
  });
  show();
}

function bindColours() {
  const show = () => {
    const scale = state.scales[$("quantity").value];
    Object.assign($("low"), { value: Number(scale.low.toPrecision(4)) });
    Object.assign($("high"), { value: Number(scale.high.toPrecision(4)) });
    $("log").checked = scale.isLog;
    $("table").value = scale.table;
  };
  const change = () => {
    const quantity = $("quantity").value, low = Number($("low").value), high = Number($("high").value), isLog = $("log").checked;
    const right = low < high && (low > 0 || !isLog);
    $("range-error").textContent = right ? "" : `The smallest value must be ${low < high ? "above 0 on a logarithmic scale" : "below the largest"}.`;
    if (!right) return;
    state.scales[quantity] = { low, high, isLog, table: $("table").value };
    paint(quantity);
    draw();
  };
  for (const id of ["low", "high", "log", "table"]) $(id).addEventListener("input", change);
  $("quantity").addEventListener("input", show);
  $("fit").addEventListener("click", () => {
    const known = shown[$("quantity").value].filter((value, i) => value > 0 && shown.depth[i] >= DATA.limits.least && shown.depth[i] <= DATA.limits.most).sort();
    if (!known.length) return;
    $("low").value = Number(known[Math.floor(0.01 * (known.length - 1))].toPrecision(3));
    $("high").value = Number((known[Math.ceil(0.99 * (known.length - 1))] * 1.0001).toPrecision(3));
    change();
  });
  $("colours-reset").addEventListener("click", () => {
    state.scales = structuredClone(DEFAULTS);
    show();
    Object.keys(QUANTITIES).forEach(paint);
    draw();
  });
  show();
}

/** Mark a frame as the one that is shown, and open it. */
function select(index) {
  $("frame").value = index;
  document.querySelectorAll("[data-frame]").forEach((item) => item.classList.toggle("selected", Number(item.dataset.frame) === index));
  shown.ready = openFrame(index);
  return shown.ready;
}

function bindFrames() {
  for (const item of document.querySelectorAll("[data-open]")) {
    item.hidden = false;
    item.addEventListener("click", () => {
      select(Number(item.dataset.open));
      $("viewer").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      $("panes").focus({ preventScroll: true });
    });
  }
  $("frame").addEventListener("input", () => select(Number($("frame").value)));
  $("form").addEventListener("input", () => {
    state.form = $("form").value;
    start();
  });
  $("show").addEventListener("input", () => ($("panes").dataset.show = $("show").value));
}

function bindPanes() {
  $("zoom-in").addEventListener("click", () => zoomBy(2));
  $("zoom-out").addEventListener("click", () => zoomBy(0.5));
  $("panes").addEventListener("pointermove", fromPointer);
  $("panes").addEventListener("pointerdown", fromPointer);
  $("panes").addEventListener("keydown", onKey);
  $("panes").addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    fromPointer(event);
    zoomBy(event.deltaY < 0 ? 2 : 0.5);
  }, { passive: false });
}

$("viewer").hidden = false;
$("frame").value = 0; // a browser that goes back keeps what was chosen
shown.ready = select(0).then(() => {
  bindFrames();
  bindPanes();
  bindColours();
  if (DATA.kernel) bindKernel();
});
