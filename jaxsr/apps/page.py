"""A local web page that upscales photographs, one at a time.

Gradio, of the extra "page", makes it; no file leaves the computer that serves it.
"""

import os
import pathlib
import signal
import socket
import tempfile

from jaxsr import cards, checks, image
from jaxsr.evaluation import protocol
from jaxsr.files import reading, writing
from jaxsr.inference import jobs, upscale

MEGAPIXELS = 200.0  # of a result
LARGEST = "200mb"  # upload
FORMATS = ["png", "jpg", "webp", "avif", "tiff"]
DISPLAYED = (".png", ".jpg", ".webp", ".avif")  # what browsers display
QUALITIES = [("Fast", "fast"), ("Balanced", "balanced"), ("Best (slow)", "best")]
HEAD = """# Upscale a photograph
Photographs are processed on the computer that runs this page and sent nowhere else.
Results keep their metadata."""
LEGEND = """Left: bicubic interpolation. Right: upscaled. Drag the line to compare them,
and zoom with the mouse wheel or two fingers."""


def serve(
    host: str = "127.0.0.1", port: int | None = None, max_megapixels: float = MEGAPIXELS
) -> None:
    """Serves the page until Ctrl-C or SIGTERM, then deletes all uploads and results.

    Args:
        host: the address to listen on; "0.0.0.0" lets other computers in.
        port: by default the first free one from 7860.
        max_megapixels: of a result, above which a photograph is refused.

    Raises:
        ModuleNotFoundError: where Gradio is missing, with the line that installs it.
        OSError: where the port is taken, or the address is not one of this computer.
    """
    try:
        socket.create_server((host, port or 0)).close()
    except OSError as error:
        raise OSError(
            f"the page cannot be served at {host}{f':{port}' if port else ''}: "
            f"{error.strerror}. Pass another --host or --port."
        ) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with reading.limited_to(max_megapixels), tempfile.TemporaryDirectory() as folder:
        # Gradio reads them when it is imported.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}
        gr = checks.extra("gradio")
        page = _page(gr, folder, max_megapixels)
        _, url, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=LARGEST,
            theme=gr.themes.Default(font="system-ui", font_mono="monospace"),
            share=False,
            ssr_mode=False,
            mcp_server=False,
            run_history=False,
            footer_links=[],
            quiet=True,
            prevent_thread_lock=True,
        )
        print(f"Open {url} in a browser. Ctrl-C stops.", flush=True)
        page.block_thread()


def _page(gr, folder: str, max_megapixels: float):
    """The `gradio.Blocks` whose results are written to a folder."""

    def run(file, model, scale, form, progress=gr.Progress(track_tqdm=True)):  # noqa: B008
        del progress  # it follows the progress bars of the jobs
        if file is None:
            raise gr.Error("Choose a photograph first.", print_exception=False)
        try:
            shown, result = upscaled(
                file, folder, scale, model, form, max_megapixels=max_megapixels
            )
        except ValueError as error:
            text = f"{pathlib.Path(file).name}: {error}"
            raise gr.Error(text, None, print_exception=False) from error
        label = f"Download {result.name}"
        return shown, gr.DownloadButton(label, result, interactive=True)

    day = 86400
    with gr.Blocks(
        analytics_enabled=False, title="jaxsr", delete_cache=(day // 24, day)
    ) as page:
        gr.Markdown(HEAD)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                file = gr.File(label="Photograph")
                choices = [*QUALITIES, *cards.shipped()]
                model = gr.Dropdown(choices, value="balanced", label="Quality or model")
                scale = gr.Slider(1, 8, value=2, step=0.1, label="Scale")
                form = gr.Radio(FORMATS, value="png", label="Format of the result")
                start = gr.Button("Upscale", variant="primary")
            with gr.Column(scale=3, min_width=300):
                gr.Markdown(LEGEND)
                shown = gr.ImageSlider(
                    show_label=False,
                    interactive=False,
                    buttons=["fullscreen"],
                    max_height=640,
                )
                result = gr.DownloadButton("Download", interactive=False)
        start.click(
            run,
            [file, model, scale, form],
            [shown, result],
            api_name="upscale",
            concurrency_limit=1,
            show_progress_on=shown,
            scroll_to_output=True,
        )
    return page


def upscaled(
    file: str | os.PathLike,
    folder: str | os.PathLike,
    scale: float,
    model: str,
    form: str,
    *,
    max_megapixels: float = MEGAPIXELS,
) -> tuple[tuple[pathlib.Path, pathlib.Path], pathlib.Path]:
    """Two files to compare in a browser, bicubic and upscaled; and the one to download.

    The last is what `jaxsr upscale` writes.

    Args:
        file: the photograph.
        folder: in a new folder of which they are written.
        scale: as in `upscale.upscale`.
        model: a quality of `cards.QUALITIES`, or the name of a shipped model.
        form: of `FORMATS`.
        max_megapixels: of the result.

    Raises:
        ValueError: where the file is not an image, or the result cannot be written or
            would be larger.
    """
    source, folder = pathlib.Path(file), pathlib.Path(tempfile.mkdtemp(dir=folder))
    upscale.check_scale(scale)
    height, width = image.resized_size(reading.size_of(source), scale)
    if height * width > 1e6 * max_megapixels:
        raise ValueError(
            f"the result would have {height * width / 1e6:.0f} megapixels, more than "
            f"the {max_megapixels:g} allowed here. Choose a smaller scale."
        )

    def written(name, model, **options):
        summary = jobs.upscale_files(
            [source], folder / name, scale, model, suffix=f".{form}", **options
        )
        for failure in summary.failed:
            raise ValueError(failure.reason)
        [path] = summary.done
        return path

    bicubic = written("bicubic", protocol.baseline(color="rgb"))
    if model in cards.QUALITIES:
        result = written("upscaled", upscale.AUTO, quality=model)
    else:
        result = written("upscaled", model)
    return (_displayed(bicubic), _displayed(result)), result


def _displayed(path: pathlib.Path) -> pathlib.Path:
    """The image file, or a copy of it that browsers display."""
    if path.suffix in DISPLAYED:
        return path
    photo, _ = reading.read_upright(path)
    if photo.pixels.dtype.kind == "f":
        photo = photo._replace(pixels=image.to_uint(photo.pixels))
    writing.write(photo, path.with_suffix(".png"))
    return path.with_suffix(".png")
