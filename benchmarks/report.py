"""How long a report lasts, and a step of a slider in its viewer.

    python benchmarks/report.py [--rounds 21]

The sample scene, rendered into a temporary folder. A step is from the event to the painted picture, with σ, weights,
colours and table of one frame, in a headless Chromium, which must be installed. Medians over rounds. Prints JSON.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from machine import machine, median_seconds
from playwright.sync_api import sync_playwright

from depthvar.datasets import open_source
from depthvar.datasets.hospital.write import write_sample
from depthvar.precompute import run, write_report

# From the event of a slider until the browser has painted: the viewer computes before the next picture of the screen.
STEP = """async ([slider, values, rounds]) => {
  const input = document.getElementById(slider), spent = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    input.value = values[round % values.length];
    input.dispatchEvent(new Event("input"));
    await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
    spent.push(performance.now() - start);
  }
  return spent.sort((a, b) => a - b)[rounds >> 1];
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder) / "sample"
        write_sample(root)
        cache, page_file = root / "sigma_Z2.zarr", root / "report.html"
        run(open_source("hospital-sample", root), cache)
        seconds = median_seconds(lambda: write_report(cache, page_file), 3)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(page_file.as_uri())
        page.evaluate("depthvar.ready")
        steps = {
            "lambda": page.evaluate(STEP, ["lambda", [0.4, 0.6], rounds]),
            "alpha": page.evaluate(STEP, ["alpha", [0.2, 0.4], rounds]),
            "window 7, for the first time": page.evaluate(STEP, ["window", [7], 1]),
        }
        height, width = page.evaluate("[depthvar.frame.height, depthvar.frame.width]")
        found = {
            "machine": machine(),
            "browser": browser.version,
            "report": {"frames": 48, "seconds": seconds, "bytes": page_file.stat().st_size},
            "slider": {"frame": [height, width], "milliseconds": steps},
        }
        browser.close()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
