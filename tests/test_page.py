"""The local web page: its work, the served page by its API, and in a real browser."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse

import numpy as np
import PIL.Image
import pytest
import tifffile

from jaxsr import cli
from jaxsr.apps import page
from jaxsr.files import reading

COMMAND = "import sys; from jaxsr import cli; sys.exit(cli.main(sys.argv[1:]))"
LIMIT = 0.5  # megapixels of a result


@pytest.fixture(scope="module")
def portrait(photo, tmp_path_factory):
    """A photograph with EXIF and a resolution."""
    path = tmp_path_factory.mktemp("in") / "portrait.jpg"
    picture = PIL.Image.fromarray(photo)
    exif = picture.getexif()
    exif[0x010F] = "Camera"
    picture.save(path, exif=exif, dpi=(300, 300))
    return path


def by_command(source, folder, *options):
    """The bytes that `jaxsr upscale` writes."""
    assert cli.main(["upscale", str(source), "-o", str(folder), *options]) == 0
    [path] = folder.iterdir()
    return path.name, path.read_bytes()


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_the_download_is_the_file_of_the_command(portrait, tmp_path, form):
    wanted = by_command(
        portrait, tmp_path / "out", "--quality=fast", f"--format={form}", "--scale=1.5"
    )
    shown, result = page.upscaled(portrait, tmp_path, 1.5, "fast", form)
    assert (result.name, result.read_bytes()) == wanted
    bicubic, after = (np.asarray(PIL.Image.open(path)) for path in shown)
    np.testing.assert_array_equal(after, reading.read_upright(result)[0].pixels)
    assert bicubic.shape == after.shape == (384, 384, 3)
    assert 0.5 < np.abs(after.astype(float) - bicubic).mean() < 10
    assert {path.suffix for path in shown} == {".png"}
    assert PIL.Image.open(shown[1]).getexif()[0x010F] == "Camera"


def test_floats_are_displayed_as_bytes(photo, tmp_path):
    pixels = photo[:64, :64, 0].astype(np.float32) / 255
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    shown, result = page.upscaled(tmp_path / "a.tif", tmp_path, 2, "fsrcnn_x2", "tiff")
    assert tifffile.imread(result).dtype == np.float32
    assert [np.asarray(PIL.Image.open(path)).dtype for path in shown] == [np.uint8] * 2


def test_a_missing_gradio_is_answered_with_its_extra():
    code = f"import sys; sys.modules['gradio'] = None\n{COMMAND}"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve"], capture_output=True, text=True
    )
    assert done.returncode == 1
    wanted = "error: gradio is not installed; pip install 'jaxsr[page]' brings it.\n"
    assert done.stderr == wanted


def test_an_address_that_cannot_be_used_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", f"--port={port}"]) == 1
        assert cli.main(["serve", "--host=192.0.2.1"]) == 1
    at = "error: the page cannot be served at"
    more = "Pass another --host or --port.\n"
    assert re.fullmatch(
        rf"{at} 127.0.0.1:{port}: .*in use.*\. {more}"
        rf"{at} 192.0.2.1: .*\. {more}",
        capsys.readouterr().err,
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a page; what it was given is deleted when it stops."""
    pytest.importorskip("gradio", reason="the page needs pip install 'jaxsr[page]'")
    folder = tmp_path_factory.mktemp("tmp")
    server = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", f"--max-megapixels={LIMIT}"],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    line = server.stdout.readline()
    yield re.search(r"http://127.0.0.1:\d+", line)[0]
    assert list(folder.glob("*/*/*/portrait_x*"))
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert not list(folder.iterdir())


def test_the_api_gives_the_file_of_the_command(address, portrait, tmp_path):
    import gradio_client

    client = gradio_client.Client(
        address, download_files=tmp_path, verbose=False, analytics_enabled=False
    )
    wanted = by_command(portrait, tmp_path / "out", "--model=fsrcnn_x2", "--format=jpg")
    file = gradio_client.handle_file(portrait)
    _, result = client.predict(file, "fsrcnn_x2", 2, "jpg", api_name="/upscale")
    path = pathlib.Path(result["value"])
    assert (path.name, path.read_bytes()) == wanted
    (tmp_path / "text.png").write_text("no picture")
    for name, scale, message in [
        (tmp_path / "text.png", 2, "text.png: it cannot be read as an image: it is em"),
        (
            portrait,
            4,
            "would have 1 megapixels, more than the 0.5 allowed here. Choose",
        ),
        (None, 2, "Choose a photograph first."),
    ]:
        file = name and gradio_client.handle_file(name)
        with pytest.raises(Exception, match=message):
            client.predict(file, "fast", scale, "png", api_name="/upscale")


SCREENS = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
    },
}


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, without a window."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pip install playwright"
    )
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed.")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("screen", SCREENS)
def test_a_photograph_is_upscaled_in_a_browser(
    address, browser, portrait, tmp_path, screen
):
    name, wanted = by_command(portrait, tmp_path / "out", "--quality=fast")
    context = browser.new_context(**SCREENS[screen])
    view, requested = context.new_page(), []
    view.on("request", lambda request: requested.append(request.url))
    view.goto(address)
    view.get_by_role("button", name="Upscale").wait_for()
    assert view.evaluate("document.body.scrollWidth <= window.innerWidth")
    view.set_input_files("input[type=file]", portrait)
    view.get_by_text("portrait").wait_for()
    view.get_by_label("Quality or model").click()
    view.get_by_role("option", name="Fast").click()
    view.get_by_role("button", name="Upscale").click()
    with view.expect_download() as download:
        view.get_by_role("button", name=f"Download {name}").click()
    assert download.value.suggested_filename == name
    assert pathlib.Path(download.value.path()).read_bytes() == wanted

    images = view.get_by_test_id("imageslider-image")
    images.first.scroll_into_view_if_needed()
    sizes = [
        image.evaluate("i => [i.naturalWidth, i.naturalHeight]")
        for image in images.all()
    ]
    assert sizes == [[512, 512]] * 2
    box = images.first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert cut(images) == pytest.approx(50, abs=1)
    drag(view, screen, (x, y), (x - box["width"] / 4, y))
    assert cut(images) == pytest.approx(25, abs=2)
    zoom(view, screen, x, y)
    view.wait_for_function(
        "() => [...document.querySelectorAll('[data-testid=imageslider-image]')]"
        ".every(i => +/scale\\((.*)\\)/.exec(i.style.transform)[1] > 1.2)"
    )
    hosts = {urllib.parse.urlsplit(url).hostname for url in requested}
    assert hosts <= {"127.0.0.1", None}, requested
    context.close()


def cut(images):
    """How much of the right image is hidden, in percent of its width."""
    return float(re.search(r"([\d.]+)%\)", images.last.get_attribute("style"))[1])


def touches(view, *moments):
    """Touches the screen; each moment is a list of places (x, y) of fingers."""
    session = view.context.new_cdp_session(view)
    for i, places in enumerate([*moments, []]):
        kind = "touchEnd" if not places else "touchMove" if i else "touchStart"
        points = [{"x": x, "y": y, "id": j} for j, (x, y) in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        view.wait_for_timeout(30)


def drag(view, screen, start, end):
    """Drags from one place to another by mouse or finger."""
    path = np.linspace(start, end, 6).tolist()
    if screen == "phone":
        touches(view, *([place] for place in path))
        return
    view.mouse.move(*start)
    view.mouse.down()
    for place in path:
        view.mouse.move(*place)
    view.mouse.up()


def zoom(view, screen, x, y):
    """Zooms in by wheel or two fingers."""
    if screen == "phone":
        spans = (20, 30, 40, 50, 60)
        touches(view, *([(x + 20 - d, y), (x + 20 + d, y)] for d in spans))
        return
    view.mouse.move(x + 50, y)
    for _ in range(6):
        view.mouse.wheel(0, -120)
        view.wait_for_timeout(30)
