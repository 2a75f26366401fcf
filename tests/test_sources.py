import hashlib
import http.server
import io
import subprocess
import sys
import threading

import numpy as np
import PIL.Image
import pytest
import tifffile
from conftest import open_set

from jaxsr.data import fetching, sets, sources
from jaxsr.files import reading, writing
from jaxsr.training import results


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No sets but those a test names, no proxy and no waiting."""
    monkeypatch.delenv("JAXSR_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0))


def save(path, size=(6, 5), mode="RGB", seed=0, **options):
    """A small image file of noise, and its pixels."""
    shape = size if mode == "L" else (*size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)
    return pixels.reshape(*size, -1)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def not_published(name, data_dir):
    """Names of the images of a set that are missing or not those of the manifest."""
    entries = sets.manifest()[name]["images"]
    folder = data_dir / name
    return [e["name"] for e in entries if not fetching.is_there(folder, e)]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_image_of_too_many_pixels_is_left_out_with_what_to_do(
    tmp_path, monkeypatch, name
):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1_000_000)
    save(tmp_path / "good.png")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((1500, 1500), np.uint16))
    PIL.Image.new("L", (1500, 1500)).save(tmp_path / "a.png")
    source = sets.open_source(str(tmp_path))
    assert source.names == ("good.png",)
    assert (
        f"{tmp_path / name} cannot be read: it has 3 megapixels; the limit against "
        "decompression bombs is 2. Cut it into smaller images."
    ) in source.left_out


def pixel_hashes(source):
    return [sha256(source.read(i).tobytes()) for i in range(len(source.names))]


COUNTS = {"T91": 91, "BSD200": 200, "BSD180": 180, "validation": 20, "291": 291}
COUNTS |= {"General100": 100, "Set5": 5, "Set14": 14, "B100": 100}


@pytest.mark.parametrize("name", COUNTS)
def test_a_set_has_its_images_in_their_sizes(name):
    source = open_set(name)
    assert len(source.names) == len(set(source.names)) == COUNTS[name]
    assert source.sizes.shape == (COUNTS[name], 2)
    for i in (0, len(source.names) - 1):
        pixels = source.read(i)
        assert pixels.dtype == np.uint8 and pixels.shape[:2] == tuple(source.sizes[i])


def test_what_is_read_is_what_the_manifest_says(tmp_path):
    for name, some in (("Set5", 5), ("T91", 4), ("BSD200", 4)):
        source = open_set(name)
        entries = {entry["name"]: entry for entry in sets.manifest()[name]["images"]}
        assert sorted(source.names) == sorted(entries)
        for i in range(some):
            entry = entries[source.names[i]]
            assert source.sizes[i].tolist() == [entry["height"], entry["width"]]
            assert sha256(source.read(i).tobytes()) == entry["pixels_sha256"]
    source = open_set("Set5")
    for i, name in enumerate(source.names):
        (tmp_path / "Set5").mkdir(exist_ok=True)
        PIL.Image.fromarray(source.read(i)).save(tmp_path / "Set5" / f"{name}.png")
    assert not_published("Set5", tmp_path) == []


def test_validation_images_are_in_no_other_set():
    source, others = open_set("validation"), open_set("BSD180").names
    assert not set(source.names) & set(others)
    published = {
        entry["pixels_sha256"]
        for name, found in sets.manifest().items()
        for entry in found["images"]
        if name != "BSD200_extra" or entry["name"] in others
    }
    assert len(published) > 500 and not published & set(pixel_hashes(source))


def test_291_is_t91_and_bsd200():
    joined, source = open_set("T91+BSD200"), open_set("291")
    assert source.name == "291" and source.names == joined.names
    assert source.names[90:92] == ("T91/tt9", "BSD200/100075")
    last_of_t91 = open_set("T91").read(90)
    np.testing.assert_array_equal(source.read(90), last_of_t91)
    assert sources.digest(source) == sources.digest(joined)
    assert len(open_set("291+General100").names) == 391


def test_the_samples_need_no_data_and_are_split():
    training = sets.open_source("samples")
    validation = sets.open_source("samples-validation")
    assert not set(training.names) & set(validation.names)
    channels = set()
    for source in (training, validation):
        for i, size in enumerate(source.sizes):
            pixels = source.read(i)
            assert pixels.dtype == np.uint8 and pixels.shape[:2] == tuple(size)
            assert len(np.unique(pixels)) > 128  # a photograph, not a drawing
            channels.add(pixels.shape[2])
    assert channels == {1, 3}
    assert fetching.fetch("samples")[0].is_dir()


def test_a_split_is_known_and_splits_are_not_joined(tmp_path):
    names = ["T91", "291", "validation", "Set5+Set14", "samples", "tfds:div2k"]
    splits = ["train", "train", "validation", "test", "train", "train"]
    assert [sets.split_of(name) for name in names] == splits
    # Benchmarks by another name.
    folder = tmp_path / "Set5"
    folder.mkdir()
    builder = "tfds:jaxsr_images/Set5:test"
    assert [sets.split_of(str(folder)), sets.split_of(builder)] == ["test", "test"]
    joined = ["T91+Set5", "291+validation", "tfds:div2k:train+validation"]
    for name in [*joined, f"T91+{folder}", f"T91+{builder}"]:
        with pytest.raises(ValueError, match="only sources of one split"):
            sets.open_source(name)


def test_large_photographs_are_halved(tmp_path):
    save(tmp_path / "OpenPhotos/large.jpg", (31, 20))
    pixels = save(tmp_path / "OpenPhotos/small.png", (31, 20))
    source = sets.open_source("OpenPhotos", tmp_path)
    assert source.sizes.tolist() == [[16, 10], [31, 20]]
    assert source.read(0).shape == (16, 10, 3) and source.read(0).dtype == np.uint8
    np.testing.assert_array_equal(source.read(1), pixels)


def test_a_folder_is_a_source(tmp_path):
    pixels = save(tmp_path / "b.PNG", (7, 4))
    gray = save(tmp_path / "a/c.bmp", (5, 6), "L")
    save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("not an image")
    source = sets.open_source(str(tmp_path))
    assert source.names == ("a/c.bmp", "b.PNG")
    assert source.sizes.dtype == np.int32
    assert source.sizes.tolist() == [[5, 6], [7, 4]]
    np.testing.assert_array_equal(source.read(0), gray)
    np.testing.assert_array_equal(source.read(1), pixels)


def test_a_folder_has_a_benchmarks_name_by_its_content_alone(tmp_path):
    source = open_set("Set5")
    for folder in ("mine", "Set5"):
        (tmp_path / folder).mkdir()
        for i in range(5):
            picture = PIL.Image.fromarray(source.read(i))
            picture.save(tmp_path / folder / f"{i}.bmp")
    assert sets.open_source(str(tmp_path / "mine")).name == "Set5"
    assert sets.open_source("Set5", tmp_path).name == "Set5"
    save(tmp_path / "Set5" / "0.bmp")
    assert sets.open_source(str(tmp_path / "Set5")).name == "Set5 (unverified)"
    assert sets.open_source("Set5", tmp_path).name == "Set5 (unverified)"
    (tmp_path / "Set5" / "0.bmp").write_bytes((tmp_path / "mine/1.bmp").read_bytes())
    assert sets.open_source("Set5", tmp_path).name == "Set5 (unverified)"


@pytest.mark.parametrize(
    ("names", "low", "true"),
    [
        (("HR/a", "LR_bicubic/X2/ax2"), "LR_bicubic/X2", "HR"),
        (("GTmod12/a", "LRbicx2/a", "LRbicx3/a"), "LRbicx2, LRbicx3", "GTmod12"),
        (("DIV2K_train_HR/1", "DIV2K_train_LR_unknown/1"), "DIV2K_train_LR", "DIV2K"),
        (("SRF_2/img_001_SRF_2_HR", "SRF_2/img_001_SRF_2_LR"), "SRF_2", "SRF_2"),
        (("img", "img_LR"), ".", "."),
        (("a", "lr/a"), "lr", "."),
        (("X2/a", "X4/a"), "X2, X4", "none"),
        (("a/low_res/1", "a/high/1"), "a/low_res", "a/high"),
    ],
)
def test_reduced_images_beside_reference_images_are_an_error(
    tmp_path, names, low, true
):
    for name in names:
        save(tmp_path / f"{name}.png")
    message = rf"resolution images \(in {low}.*others \(in {true}.*as reference images"
    with pytest.raises(ValueError, match=message):
        sets.open_source(str(tmp_path))


@pytest.mark.parametrize(
    ("true", "low", "size"),
    [
        ("a", "ax2", (3, 3)),
        ("high/a", "small/a", (2, 2)),
        ("a_HR", "thumbnails/a_x3", (2, 2)),
    ],
)
def test_copies_of_a_fraction_of_the_size_are_reduced_images(tmp_path, true, low, size):
    save(tmp_path / f"{true}.png", (6, 7))
    save(tmp_path / f"{low}.png", size)
    with pytest.raises(ValueError, match="holds 1 low-resolution .* beside 1 others"):
        sets.open_source(str(tmp_path))
    assert sets.open_source(str(tmp_path), low="skip").names == (f"{true}.png",)
    assert len(sets.open_source(str(tmp_path), low="keep").names) == 2
    save(tmp_path / f"{low}.png", (3, 4))  # not of one scale
    save(tmp_path / f"{true}.png", (11, 7))
    assert len(sets.open_source(str(tmp_path)).names) == 2


@pytest.mark.parametrize(
    "names",
    [
        ("girl/lrx", "b"),
        ("world_tour/1", "a"),
        ("X2/a", "X2/b"),
        ("a_LR", "b", "ulric"),
    ],
)
def test_names_that_only_look_like_reduced_images_are_none(tmp_path, names):
    for name in names:
        save(tmp_path / f"{name}.png")
    assert len(sets.open_source(str(tmp_path)).names) == len(names)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no image file"):
        sets.open_source(str(tmp_path))


def test_a_digest_follows_names_and_sizes_alone(tmp_path):
    for i, size in enumerate([(6, 5), (6, 5), (5, 6)]):
        save(tmp_path / f"{i}/a.png", size, seed=i)
    same, also, other = (
        sources.digest(sets.open_source(str(tmp_path / f"{i}"))) for i in range(3)
    )
    assert same == also != other and len(same) == 64


WIDE = np.array([[0, 128, 129], [257, 65534, 65535]], np.uint16)


@pytest.mark.parametrize(
    ("picture", "suffix", "expected"),
    [
        (PIL.Image.new("1", (2, 2), 1), "png", [255]),
        (PIL.Image.new("L", (2, 2), 7), "png", [7]),
        (PIL.Image.new("LA", (2, 2), (7, 9)), "png", [7]),
        (PIL.Image.new("RGB", (2, 2), (1, 2, 3)), "png", [1, 2, 3]),
        (PIL.Image.new("RGBA", (2, 2), (1, 2, 3, 0)), "png", [1, 2, 3]),
        (PIL.Image.new("RGB", (2, 2), (1, 2, 3)).quantize(), "png", [1, 2, 3]),
        (PIL.Image.new("CMYK", (2, 2), (255, 0, 0, 0)), "tif", [0, 255, 255]),
        (PIL.Image.fromarray(WIDE), "png", [[0, 0, 1], [1, 255, 255]]),
        (PIL.Image.fromarray(WIDE), "tif", [[0, 0, 1], [1, 255, 255]]),
    ],
)
def test_every_kind_of_image_becomes_8_bits_of_gray_or_rgb(
    tmp_path, picture, suffix, expected
):
    picture.save(tmp_path / f"image.{suffix}")
    pixels = reading.read_as_stored(tmp_path / f"image.{suffix}")
    assert pixels.dtype == np.uint8
    if np.ndim(expected) == 1:
        expected = np.tile(expected, (2, 2, 1))
    np.testing.assert_array_equal(pixels, np.reshape(expected, pixels.shape))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bits_are_rounded_not_cut_to_the_high_byte(tmp_path, channels):
    wide = np.arange(65536).reshape(64, 1024)
    pixels = np.stack([wide, *[wide[::-1]] * (channels - 1)], axis=-1)
    photo = reading.Photo(pixels.astype(np.uint16), {}, PIL.Image.Exif())
    writing.write(photo, tmp_path / "image.png")
    found = reading.read_as_stored(tmp_path / "image.png")
    expected = np.rint(pixels / 257)[..., : 3 if channels > 2 else 1]
    np.testing.assert_array_equal(found, expected)


def test_twelve_bits_in_sixteen_become_eight_over_their_own_range(tmp_path):
    wide = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    PIL.Image.fromarray(wide).save(tmp_path / "image.png")
    found = reading.read_as_stored(tmp_path / "image.png")
    np.testing.assert_array_equal(found[..., 0], np.rint(wide / 4095 * 255))


@pytest.mark.filterwarnings("error")
def test_a_transparent_palette_is_read_without_a_warning(tmp_path):
    picture = PIL.Image.new("RGB", (2, 2), (1, 2, 3)).quantize()
    picture.save(tmp_path / "image.png", transparency=b"\0")
    assert (
        reading.read_as_stored(tmp_path / "image.png").tolist() == [[[1, 2, 3]] * 2] * 2
    )


def test_bad_files_of_a_folder_are_left_out_and_named(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    good = save(folder / "good.png")
    save(folder / "huge.png", (40, 50))
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("This is no picture.")
    save(folder / "short.png", (40, 30))
    short = (folder / "short.png").read_bytes()
    (folder / "short.png").write_bytes(short[: len(short) // 2])  # a whole header
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 40 * 50 // 2 - 1)
    source = sets.open_source(str(folder))
    assert source.names == ("good.png",) and source.sizes.tolist() == [[6, 5]]
    np.testing.assert_array_equal(source.read(0), good)
    assert [reason.split(" cannot be read: ")[0] for reason in source.left_out] == [
        str(folder / name)
        for name in ("empty.jpg", "huge.png", "short.png", "text.png")
    ]
    assert "decompression bomb" in source.left_out[1]
    save(tmp_path / "other/a.png")
    joined = sets.open_source(f"{folder}+{tmp_path / 'other'}")
    assert joined.names == ("folder/good.png", "other/a.png")
    assert joined.left_out == source.left_out
    assert sources.with_reduced(source, (1.0, 0.5)).left_out == source.left_out
    (folder / "good.png").unlink()
    with pytest.raises(ValueError, match="has no readable image(.*\n)+.*text.png"):
        sets.open_source(str(folder))


def test_a_bad_file_of_a_named_set_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sets.SETS, "Two", sets.ImageSet("test", "Two", 2))
    save(tmp_path / "Two/a.png")
    (tmp_path / "Two/b.png").write_text("This is no picture.")
    with pytest.raises(ValueError, match="1 of the 2 files of Two(.*\n)+.*b.png"):
        sets.open_source("Two", tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
def test_a_file_cut_short_is_named_when_read(tmp_path, suffix):
    path = tmp_path / f"short.{suffix}"
    save(path, (64, 64))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=f"short.{suffix} cannot be read"):
        reading.read_as_stored(path)


def test_missing_and_floating_point_files_are_named(tmp_path):
    PIL.Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="float.tif cannot be read: it holds floating"):
        reading.read_as_stored(tmp_path / "float.tif")
    with pytest.raises(ValueError, match="none.png cannot be read.*No such file"):
        reading.read_as_stored(tmp_path / "none.png")


def test_a_missing_set_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSR_DATA", str(tmp_path / "b"))
    with pytest.raises(sources.DataNotFound) as error:
        sets.open_source("291", tmp_path / "a")
    for part in ("set T91", "a/T91", "b/T91", "home/.cache/jaxsr/data/T91"):
        assert part in str(error.value)
    assert "`jaxsr prepare T91`" in str(error.value)


def test_sets_are_found_in_the_first_place_that_has_them(tmp_path, monkeypatch):
    for i, place in enumerate(["a", "b", "home/.cache/jaxsr/data"]):
        save(tmp_path / place / "OpenPhotos/x.png", (i + 1, 1))
    monkeypatch.setenv("JAXSR_DATA", str(tmp_path / "b"))
    heights = [
        sets.open_source("OpenPhotos", place).sizes[0, 0]
        for place in (tmp_path / "a", tmp_path / "none", None)
    ]
    monkeypatch.delenv("JAXSR_DATA")
    heights.append(sets.open_source("OpenPhotos").sizes[0, 0])
    assert heights == [1, 2, 2, 3]


def test_a_wrong_count_is_an_error(tmp_path):
    for i in range(4):
        save(tmp_path / f"Set5/{i}.png")
    with pytest.raises(sources.DataNotFound, match="5 images in .*Set5; 4 are there"):
        sets.open_source("Set5", tmp_path)
    for i in range(6):
        save(tmp_path / f"Set5/{i}.png")
    with pytest.raises(ValueError, match="5 images in .*Set5; 6 are there"):
        sets.open_source("Set5", tmp_path)


@pytest.mark.parametrize("name", ["T19", "", "T91+", "no/such/folder"])
def test_an_unknown_name_is_answered_with_the_right_ones(name):
    with pytest.raises(ValueError, match="one of .*'T91'.*tfds:NAME"):
        sets.open_source(name)


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` (path -> content); after `healthy` answers it cuts each short."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.healthy = {}, [], 1000
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.path)
        if self.path not in server.files:
            self.send_error(404)
            return
        content = server.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        server.healthy -= 1
        self.wfile.write(
            content if server.healthy >= 0 else content[: len(content) // 2]
        )

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """A server of the set "Tiny": ten BMP files, in the manifest as in `SETS`."""
    server = Server()
    entries = []
    for i in range(10):
        file = io.BytesIO()
        pixels = np.random.default_rng(i).integers(0, 256, (5, 4, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(file, "bmp")
        server.files[f"/user/tiny/c0ffee/a%20folder/{i}.bmp"] = file.getvalue()
        hashes = {
            "sha256": sha256(file.getvalue()),
            "pixels_sha256": sha256(pixels.tobytes()),
        }
        entries.append({"name": f"{i}", "path": f"a folder/{i}.bmp"} | hashes)
    tiny = {"repository": "user/tiny", "commit": "c0ffee", "images": entries}
    monkeypatch.setattr(sets, "manifest", lambda: {"Tiny": tiny})
    monkeypatch.setitem(sets.SETS, "Tiny", sets.ImageSet("train", "Tiny", 10))
    monkeypatch.setattr(fetching, "WORKERS", 2)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(server, data_dir, name="Tiny"):
    server.asked.clear()
    return fetching.fetch(name, data_dir, url=server.url, progress=False)


def test_a_set_is_fetched_and_not_fetched_again(server, tmp_path):
    assert fetch(server, tmp_path) == [tmp_path / "Tiny"]
    assert len(server.asked) == 10
    source = sets.open_source("Tiny", tmp_path)
    entries = sets.manifest()["Tiny"]["images"]
    assert pixel_hashes(source) == [entry["pixels_sha256"] for entry in entries]
    assert not_published("Tiny", tmp_path) == []
    fetch(server, tmp_path)
    assert server.asked == []


def test_the_same_pixels_in_another_format_are_kept(server, tmp_path):
    fetch(server, tmp_path)
    first = tmp_path / "Tiny/0.bmp"
    PIL.Image.open(first).save(first.with_suffix(".png"))
    first.unlink()
    fetch(server, tmp_path)
    assert server.asked == []


def test_wrong_files_are_found_and_replaced(server, tmp_path):
    fetch(server, tmp_path)
    (tmp_path / "Tiny/3.bmp").unlink()
    save(tmp_path / "Tiny/3.png", (5, 4), seed=99)
    (tmp_path / "Tiny/4.bmp").write_bytes(b"cut short")
    assert not_published("Tiny", tmp_path) == ["3", "4"]
    fetch(server, tmp_path)
    assert len(server.asked) == 2
    assert not_published("Tiny", tmp_path) == []
    assert len(sets.open_source("Tiny", tmp_path).names) == 10


def test_a_fetch_resumes_where_the_server_died(server, tmp_path):
    server.healthy = 4
    with pytest.raises(fetching.FetchError, match="6 of 10 files of Tiny"):
        fetch(server, tmp_path)
    assert len(list((tmp_path / "Tiny").iterdir())) == 4  # nothing half-written
    with pytest.raises(sources.DataNotFound, match="10 images in .*; 4 are there"):
        sets.open_source("Tiny", tmp_path)
    server.healthy = 1000
    fetch(server, tmp_path)
    assert len(server.asked) == 6
    assert not_published("Tiny", tmp_path) == []


def test_missing_and_wrong_files_do_not_stop_the_rest(server, tmp_path, capsys):
    missing, wrong = list(server.files)[4:6]
    del server.files[missing]
    server.files[wrong] = b"something else"
    with pytest.raises(fetching.FetchError, match="2 of 10 files of Tiny"):
        fetch(server, tmp_path)
    assert server.asked.count(missing) == 1  # asking again would not help
    assert not_published("Tiny", tmp_path) == ["4", "5"]
    told = capsys.readouterr().err
    assert f"{server.url}{missing}: HTTP Error 404" in told
    assert f"{server.url}{wrong}: its sha256 must be" in told


def test_a_server_that_gives_nothing_is_soon_given_up(server, tmp_path):
    server.files.clear()
    with pytest.raises(fetching.FetchError, match="10 of 10 files of Tiny"):
        fetch(server, tmp_path)
    assert len(server.asked) < 10
    assert not (tmp_path / "Tiny").exists()  # it would hide a set found elsewhere


def test_a_set_without_an_address_must_be_put_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sets.SETS, "Own", sets.ImageSet("train", "Own", 1))
    with pytest.raises(sources.DataNotFound, match="put its files into "):
        fetching.fetch("Own", tmp_path)
    save(tmp_path / "Own/im_1.png")
    assert fetching.fetch("Own", tmp_path) == [tmp_path / "Own"]


def test_every_set_of_the_manifest_has_addresses_and_can_be_asked_for(
    tmp_path, monkeypatch
):
    asked = []

    def run(jobs, name, progress):
        asked.extend(job[1] for job in jobs)

    monkeypatch.setattr(fetching, "_run", run)
    for name, found in sets.manifest().items():
        asked.clear()
        assert fetching.fetch(name, tmp_path, url="URL") == [tmp_path / name]
        assert len(asked) == len(found["images"])
    folders = {entry.folder for entry in sets.SETS.values()} - {sets.SKIMAGE}
    assert folders == set(sets.manifest())
    fetching.fetch("OpenPhotos", tmp_path, url="URL")
    assert (
        "URL/BuddiesOfBudgie/budgie-backgrounds/82067426f1dde366e9c9038fdbe457c2527525dd"
        "/backgrounds/abstract-spiral.jpg" in asked
    )


def test_authors_weights_are_fetched_and_checked(server, tmp_path, monkeypatch):
    content = b"numbers"
    server.files["/user/port/c0ffee/Test/net.mat"] = content
    entry = {"repository": "user/port", "commit": "c0ffee", "path": "Test/net.mat"}
    entry["sha256"] = sha256(content)
    files = {"vdsr/net.mat": entry, "edsr/x.npz": entry}
    monkeypatch.setattr(sets, "weight_files", lambda: files)
    monkeypatch.setenv("JAXSR_WEIGHTS", str(tmp_path))
    (path,) = fetch(server, None, "weights/vdsr")
    assert path == tmp_path / "vdsr" / "net.mat"
    assert path.read_bytes() == content
    assert fetch(server, None, "weights/vdsr") == [path] and not server.asked
    path.write_bytes(b"cut")
    server.files["/user/port/c0ffee/Test/net.mat"] = b"other"
    with pytest.raises(fetching.FetchError, match="its sha256 must be"):
        fetch(server, None, "weights/vdsr")
    with pytest.raises(ValueError, match="'weights/edsr', 'weights/vdsr'.; got 'weigh"):
        fetch(server, tmp_path, "weights/nothing")


def test_a_set_is_fetched_where_it_is_opened_and_one_line_says_where_it_cannot_be(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(fetching.fetch.__kwdefaults__, "url", server.url)
    source = fetching.open_or_fetch("Tiny", tmp_path)
    assert len(source.names) == 10
    config = {
        "color": "y",
        "evaluation": {"sets": ("Tiny",)},
        "data": {"dir": str(tmp_path / "b")},
    }
    monkeypatch.delenv("JAXSR_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (source,) = results.open_benchmarks(config, fetch=True)
    assert len(source.names) == 10
    server.files.clear()
    config["data"]["dir"] = str(tmp_path / "c")
    config["evaluation"]["sets"] = ("Tiny", "Set5")
    capsys.readouterr()
    assert results.open_benchmarks(config, fetch=True) == []
    out = capsys.readouterr()
    assert out.out.count("\n") == 1 and out.err == ""
    assert out.out.startswith("Not in the table of results: Tiny, Set5. 10 of 10 files")
    assert "`jaxsr prepare Tiny`" in out.out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with 14 images as Set14, the third in gray, and TFDS's own of them."""
    pytest.importorskip("tensorflow_datasets")
    from jaxsr.data import tfds_builder

    assert tfds_builder.JaxsrImages.name == "jaxsr_images"
    folder = tmp_path_factory.mktemp("tfds")
    for i in range(14):
        mode = "L" if i == 2 else "RGB"
        save(folder / f"Set14/{i:02}.png", (9 + i, 8), mode, seed=i)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXSR_DATA", str(folder))
        assert fetching.fetch("tfds:jaxsr_images/Set14", folder)[0].is_dir()
    return folder


def test_tfds_serves_a_set(prepared):
    import tensorflow_datasets as tfds

    records = tfds.data_source("jaxsr_images/Set14", split="test", data_dir=prepared)
    source = sets.open_source("Set14", prepared)
    assert [record["name"].decode() for record in records] == list(source.names)
    for i, record in enumerate(records):
        pixels = np.broadcast_to(source.read(i), record["image"].shape)
        np.testing.assert_array_equal(record["image"], pixels)


def test_a_tfds_set_is_a_source(prepared, tmp_path):
    source = sets.open_source("tfds:jaxsr_images/Set14:test", prepared)
    assert source.sizes is None and len(source.names) == 14
    assert pixel_hashes(source) == pixel_hashes(sets.open_source("Set14", prepared))
    save(tmp_path / "Set5" / "a.png")
    name = f"tfds:jaxsr_images/Set14:test[:2]+{tmp_path / 'Set5'}"
    joined = sets.open_source(name, prepared)
    assert joined.sizes is None and len(joined.names) == 3


def test_a_tfds_set_that_is_not_there_says_how_to_get_it(tmp_path):
    with pytest.raises(sources.DataNotFound, match="`jaxsr prepare tfds:div2k`"):
        sets.open_source("tfds:div2k", tmp_path)
    with pytest.raises(ValueError, match="no data set 'no_such_set'"):
        sets.open_source("tfds:no_such_set", tmp_path)


def test_a_tfds_set_without_random_access_says_how_to_convert_it(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    from jaxsr.data import tfds_builder

    for i in range(5):
        save(tmp_path / f"Set5/{i}.png")
    monkeypatch.setenv("JAXSR_DATA", str(tmp_path))
    builder = tfds_builder.JaxsrImages(config="Set5", data_dir=tmp_path / "tfds")
    builder.download_and_prepare(file_format=tfds.core.FileFormat.TFRECORD)
    with pytest.raises(sources.DataNotFound, match="tfrecord, which has no random"):
        sets.open_source("tfds:jaxsr_images/Set5:test", tmp_path / "tfds")


def test_reading_needs_no_heavy_package(prepared):
    program = f"""
import sys
from jaxsr.data import fetching, sets
heavy = {{"tensorflow", "torch", "skimage", "matplotlib", "tensorflow_datasets"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
source = sets.open_source("tfds:jaxsr_images/Set14:test", {str(prepared)!r})
assert source.read(2).shape[2] == 1
assert not heavy - {{"tensorflow_datasets"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
