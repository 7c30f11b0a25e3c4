"""The report in a browser: it opens from disk, asks for nothing, computes σ as the kernel does, and all can use it."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from chromium import chromium
from numpy.typing import NDArray
from PIL import Image
from tiny_data import DESCRIPTION, TinyData, make_depth

from depthvar.precompute import Difference, KernelParams, run, sigma_z2, write_report
from depthvar.precompute.pictures.colour import FAR, UNKNOWN, Scale
from depthvar.precompute.pictures.weights import FORMS, weight_map
from depthvar.precompute.report import tiles

Page = Any
SKY_DEPTH = 7.5  # metres, of the tiny frames: what is behind it is far


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports of two frames with images, of tiny frames with holes and sky, and of another estimator."""
    folder = tmp_path_factory.mktemp("reports")
    room, tiny = TinyData(folder / "room"), TinyData(folder / "tiny")
    lines = DESCRIPTION.splitlines()
    lines.insert(lines.index("[depth]"), 'image = "{sequence}/image/{frame}.png"')
    lines.insert(lines.index("[depth]") + 1, "max_depth = 80.0")
    room.toml.write_text("\n".join(lines))
    (room.root / "a/image").mkdir(parents=True)
    for index in range(2):
        room.write("a", f"{index:03}", make_depth(300, 400, index), fx=200)
        Image.linear_gradient("L").resize((400, 300)).save(room.root / f"a/image/{index:03}.png")
    run(room.source())
    write_report(room.root / "sigma_Z2.zarr", folder / "room.html")
    tiny.toml.write_text(DESCRIPTION.replace("far = [inf]", f"far = [inf]\nmax_depth = {SKY_DEPTH}"))
    for index in range(3):
        tiny.write("a", f"{index:03}", make_depth(24, 32, index))
    odd = KernelParams(window=3, lambda_prior=1.25, alpha_clamp=0.125, min_valid=5, quantisation_step=0.01)
    for name, params in (("tiny", odd), ("difference", Difference())):
        run(tiny.source(), folder / f"{name}.zarr", params)
        write_report(folder / f"{name}.zarr", folder / f"{name}.html", tiny.root)
    return {path.stem: path for path in folder.glob("*.html")}


@pytest.fixture
def opened(browser: Any, reports: dict[str, Path], request: pytest.FixtureRequest) -> Iterator[Page]:
    """A report in a browser that is offline; at the end, nothing was asked for and the console is empty."""
    name, options = getattr(request, "param", ("room", {}))
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.set_offline(True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda wanted: asked.append(wanted.url))
    page.goto(reports[name].as_uri())
    if options.get("java_script_enabled", True):
        page.evaluate("depthvar.ready")
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [reports[name].as_uri()]


def of(name: str, **options: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("opened", [(name, options)], indirect=True, ids=[name])


def array(page: Page, name: str) -> NDArray[np.float32]:
    """Return a map of ``window.depthvar``, (h, w)."""
    script = """(name) => {
        const bytes = new Uint8Array(depthvar[name].buffer);
        return [btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")), depthvar.frame.width];
    }"""
    text, width = page.evaluate(script, name)
    return np.frombuffer(base64.b64decode(text), np.float32).reshape(-1, width)


def pixels(page: Page, pane: str) -> NDArray[np.uint8]:
    """Return the colours that a canvas shows, (h, w, 3)."""
    script = """(pane) => {
        const canvas = document.querySelector(`[data-pane="${pane}"] canvas`);
        const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
        const context = copy.getContext("2d", { willReadFrequently: true });
        context.drawImage(canvas, 0, 0);
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        return [btoa(Array.from(data, (byte) => String.fromCharCode(byte)).join("")), canvas.width];
    }"""
    text, width = page.evaluate(script, pane)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, width, 4)[..., :3]


def put(page: Page, **numbers: float) -> None:
    """Type parameters, and wait until they are drawn."""
    for name, value in numbers.items():
        page.fill(f"#{name}-value", str(value))
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def assert_as_kernel(page: Page, params: KernelParams, max_depth: float) -> None:
    """Compare σ² in the page with the definition, to the last digits, and with the kernel, to those of float32."""
    depth, got = array(page, "depth"), array(page, "variance")
    camera = page.evaluate("depthvar.frame.camera")
    known = sigma_z2(depth, np.array(camera), params, max_depth=max_depth)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(known))
    finite = np.isfinite(known)
    assert finite.any()
    want = (
        reference.sigma_z2(depth, camera, params, max_depth=max_depth)
        if depth.size < 1000
        else (reference.sigma_z2_of_arrays(depth, camera, params))
    )
    np.testing.assert_allclose(got[finite], want.sigma_z2[finite], rtol=1e-6)
    off = np.abs(got[finite] / known[finite] - 1)
    assert (off <= reference.rounding(want)[finite]).all()


CHANGES = [
    {"window": 3},
    {"window": 7, "lambda": 0},
    {"window": 5, "lambda": 2.4, "alpha": 0.05},
    {"window": 3, "lambda": 0.1, "alpha": 1},
]


def changed(change: dict[str, float], **start: Any) -> KernelParams:
    names = {"window": "window", "lambda": "lambda_prior", "alpha": "alpha_clamp"}
    return KernelParams(**(start | {names[name]: value for name, value in change.items()}))


def test_sigma_follows_the_sliders_as_the_kernel_says(opened: Page) -> None:
    assert_as_kernel(opened, KernelParams(), 80)
    for change in CHANGES[:2]:
        opened.click("#kernel-reset")
        put(opened, **change)
        assert_as_kernel(opened, changed(change), 80)


@of("tiny")
def test_holes_sky_and_every_parameter_count_as_in_the_kernel(opened: Page) -> None:
    start = {"window": 3, "lambda_prior": 1.25, "alpha_clamp": 0.125, "min_valid": 5, "quantisation_step": 0.01}
    depth = array(opened, "depth")
    assert (depth == 0).any()
    assert np.isinf(depth).any()
    assert ((depth > SKY_DEPTH) & np.isfinite(depth)).any()
    assert_as_kernel(opened, KernelParams(**start), SKY_DEPTH)
    for change in CHANGES:
        opened.click("#kernel-reset")
        put(opened, **change)
        assert_as_kernel(opened, changed(change, **start), SKY_DEPTH)


def test_the_page_begins_with_what_the_cache_holds(opened: Page, reports: dict[str, Path]) -> None:
    from depthvar.datasets import SigmaCache

    cache = SigmaCache(reports["room"].parent / "room/sigma_Z2.zarr")
    stored = cache.read(opened.evaluate("depthvar.frame.key"), 2)
    got = array(opened, "variance")
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(stored))
    off = np.abs(got[np.isfinite(got)] / stored[np.isfinite(got)] - 1)
    assert np.quantile(off, 0.99) < 0.01  # of σ²: both are rounded, the cache to 8 bits, the page's depth to 14


def test_weights_are_those_of_the_loss(opened: Page) -> None:
    for form in FORMS:
        opened.select_option("#form", form)
        depth, sigma = array(opened, "depth"), array(opened, "sigma")
        np.testing.assert_allclose(array(opened, "weight"), weight_map(depth, sigma, form), rtol=2e-4)  # float32 sums


def assert_colours(page: Page, name: str, scale: Scale, max_depth: float) -> None:
    values, depth = array(page, name), array(page, "depth")
    got, valid = pixels(page, name), np.isfinite(values) & (depth > 0) & (depth <= max_depth)
    want = scale.colours(values)
    # At the border of two of the 256 colours, the last digit of a logarithm decides.
    assert ((got == want).all(-1)[valid]).mean() > 0.999
    assert (got[depth > max_depth] == FAR).all()
    assert (got[~(depth > 0)] == UNKNOWN).all()


@of("tiny")
def test_pixels_on_the_screen_have_the_colours_of_the_values(opened: Page) -> None:
    scales = opened.evaluate("depthvar.state.scales")
    for change in ({}, {"lambda": 3, "alpha": 0.5}):
        put(opened, **change)
        for name in ("depth", "sigma", "weight"):
            given = scales[name]
            assert_colours(opened, name, Scale(given["low"], given["high"], given["isLog"], given["table"]), SKY_DEPTH)


def test_range_scale_and_colour_map_can_be_set_and_reset(opened: Page) -> None:
    before = pixels(opened, "sigma")
    opened.fill("#low", "0.01")
    opened.fill("#high", "0.5")
    opened.uncheck("#log")
    opened.select_option("#table", "turbo")
    assert_colours(opened, "sigma", Scale(0.01, 0.5, False, "turbo"), 80)
    opened.fill("#low", "2")
    assert "must be below the largest" in opened.inner_text("#range-error")
    opened.click("#fit")
    assert opened.inner_text("#range-error") == ""
    opened.click("#colours-reset")
    np.testing.assert_array_equal(pixels(opened, "sigma"), before)


def test_the_value_under_pointer_and_finger_is_that_of_the_maps(opened: Page) -> None:
    canvas = opened.locator('[data-pane="sigma"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for u, v in ((0, 0), (120, 31), (70, 90), (199, 149)):
        opened.mouse.move(box["x"] + (u + 0.5) * box["width"] / 200, box["y"] + (v + 0.5) * box["height"] / 150)
        assert opened.evaluate("depthvar.state.cursor") == {"u": u, "v": v}
        assert opened.inner_text("#value-place") == f"{2 * u}, {2 * v}"
        depth, sigma, weight = (float(array(opened, name)[v, u]) for name in ("depth", "sigma", "weight"))
        if np.isfinite(sigma):
            texts = [opened.inner_text(f"#value-{name}") for name in ("depth", "sigma", "weight")]
            got = [float(text.removesuffix(" m")) for text in texts]
            assert got == pytest.approx([depth, sigma, weight], rel=6e-3)


def test_all_of_the_viewer_works_by_keyboard(opened: Page) -> None:
    reached = []
    for _ in range(80):
        opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert opened.evaluate("document.activeElement.matches(':focus-visible')") or reached[-1] == "BODY"
    controls = [
        "frame",
        "show",
        "form",
        "panes",
        "window",
        "lambda",
        "alpha",
        "quantity",
        "table",
        "low",
        "high",
        "log",
    ]
    assert [name for name in dict.fromkeys(reached) if name in controls] == controls
    opened.focus("#panes")
    opened.evaluate("depthvar.state.cursor = {u: 5, v: 5}")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "ArrowLeft", "ArrowUp"):
        opened.keyboard.press(key)
    assert opened.evaluate("depthvar.state.cursor") == {"u": 15, "v": 5}
    opened.locator("#spoken", has_text="column 30, row 10: depth ").wait_for(state="attached")
    opened.keyboard.press("+")
    assert opened.inner_text("#zoom") == "2×"
    half, zoom = pixels(opened, "sigma"), opened.evaluate("({...depthvar.state.zoom})")
    opened.keyboard.press("0")
    u, v = int(zoom["u"]), int(zoom["v"])
    np.testing.assert_array_equal(half[::2, ::2], pixels(opened, "sigma")[v : v + 75, u : u + 100])
    before = array(opened, "sigma")
    opened.focus("#lambda")
    opened.keyboard.press("ArrowRight")
    opened.locator("#spoken", has_text="median sigma ").wait_for(state="attached")
    assert opened.evaluate("depthvar.state.kernel.lambdaPrior") == pytest.approx(0.55)
    assert np.nanmax(array(opened, "sigma") - before) > 0
    assert "--lambda-prior 0.55 " in opened.inner_text("#command")


def test_a_screen_reader_finds_names_and_landmarks(opened: Page) -> None:
    for role, name in (
        ("slider", "window, pixels"),
        ("slider", "λ, weight of the pixel footprint"),
        ("spinbutton", "α, limit of δ / distance, as a number"),
        ("combobox", "Frame"),
        ("button", "Zoom in"),
        ("application", "Maps of the frame, with a cursor"),
        ("navigation", "Sections"),
        ("region", "Viewer"),
    ):
        assert opened.get_by_role(role, name=name, exact=True).count() == 1, (role, name)
    unnamed = opened.evaluate(
        """() => [...document.querySelectorAll("input, select, button")].filter((control) =>
            !(control.labels?.length || control.textContent.trim() || control.getAttribute("aria-label"))).length"""
    )
    assert unnamed == 0
    charts = opened.locator("svg[role=img]")
    assert charts.count() == 12
    assert all("edian" in (label or "") or ": " in (label or "") for label in charts.evaluate_all(
        "(all) => all.map((chart) => chart.getAttribute('aria-label'))"
    ))  # fmt: skip


CONTRAST = """() => {
    const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parse(getComputedStyle(at).backgroundColor);
            if (colour.length && colour[3] !== 0) return colour;
        }
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || !element.getClientRects().length || element.closest("script, option")) continue;
        const style = getComputedStyle(element), svg = element.closest("svg");
        const ink = light(parse(svg ? style.fill : style.color)), paper = light(behind(element));
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        if (ratio < 4.5) found.push([element.outerHTML.slice(0, 80), ratio]);
    }
    return found;
}"""


@pytest.mark.parametrize(
    "opened",
    [
        ("room", {"color_scheme": scheme, "viewport": {"width": width, "height": 844}})
        for scheme in ("light", "dark")
        for width in (390, 1280)
    ],
    indirect=True,
    ids=["light-phone", "light-desktop", "dark-phone", "dark-desktop"],
)
def test_text_can_be_read_and_nothing_is_wider_than_the_screen(opened: Page) -> None:
    assert opened.evaluate("document.documentElement.scrollWidth") <= opened.viewport_size["width"]
    assert opened.evaluate(CONTRAST) == []


def test_print_has_the_pictures_in_place_of_the_viewer(opened: Page) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    assert not opened.locator("#viewer").is_visible()
    assert opened.locator(".gallery img").first.is_visible()
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@of("room", java_script_enabled=False)
def test_without_javascript_all_but_the_viewer_is_there(opened: Page) -> None:
    assert not opened.locator("#viewer").is_visible()
    assert opened.locator("noscript p").is_visible()
    assert opened.locator(".gallery img").first.is_visible()
    assert not opened.get_by_role("button").count()


def test_a_frame_of_the_gallery_opens_in_the_viewer(opened: Page) -> None:
    first = opened.evaluate("depthvar.frame.key")
    opened.get_by_role("button", name="Open in the viewer").nth(1).click()
    opened.evaluate("depthvar.ready")
    assert opened.evaluate("depthvar.frame.key") != first
    assert opened.input_value("#frame") == "1"


@of("difference")
def test_another_estimator_shows_its_own_sigma(opened: Page) -> None:
    got, depth = array(opened, "variance"), array(opened, "depth")
    want = sigma_z2(depth, np.array(opened.evaluate("depthvar.frame.camera")), Difference(), max_depth=SKY_DEPTH)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))
    finite = np.isfinite(want)
    step = 2.0**-tiles.MANTISSA_BITS
    assert np.quantile(np.abs(np.sqrt(got[finite]) - np.sqrt(want[finite])) / depth[finite], 0.99) < 2 * step
    assert opened.get_by_role("slider").count() == 0
    opened.select_option("#form", "inverse_sigma")
    np.testing.assert_allclose(
        array(opened, "weight"), weight_map(depth, array(opened, "sigma"), "inverse_sigma"), 2e-4
    )
