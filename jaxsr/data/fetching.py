"""Downloads image sets and authors' weights.

Each file is checked by its SHA-256.
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import os
import pathlib
import sys
import time
import urllib.parse
import urllib.request

import tqdm

from jaxsr import files
from jaxsr.data import sets, sources, tfds
from jaxsr.files import reading

WEIGHTS = "weights/"  # begins the name of authors' weights
WORKERS = 8  # files fetched at the same time
PAUSES = (1.0, 3.0)  # seconds before the second and the third attempt


class FetchError(OSError):
    """Some files of a set could not be fetched."""


def fetch(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    url: str = "https://raw.githubusercontent.com",
    progress: bool = True,
) -> list[pathlib.Path]:
    """The folders of a set, after downloading the files that are missing.

    A file there with the right content is kept, whatever its format; one with the wrong
    content is replaced. An interrupted call can be repeated to resume. A "tfds:" set is
    downloaded and prepared by TFDS.

    Args:
        name: of a set, of a folder of the manifest, or "weights/vdsr", whose files are
            returned instead.
        data_dir: the folders go in here; by default into $JAXSR_DATA (of weights, into
            $JAXSR_WEIGHTS first), without that into ~/.cache/jaxsr/data.
        url: server of {repository}/{commit}/{path}.
        progress: show a bar, and name every file whose download failed.

    Raises:
        FetchError: some downloads failed; the first is named. The other files were
            downloaded, unless all failed.
        DataNotFound: the set is missing and has no download source.
        ValueError: for unknown weights.
    """
    if name.startswith(WEIGHTS):
        return _fetch_weights(name, data_dir, url, progress)
    root = sets.data_dirs(data_dir)[0]
    folders, jobs = [], []
    for part in [name] if name in sets.manifest() else sets.parts_of(name):
        known = sets.SETS[part].folder if part in sets.SETS else part
        if part.startswith("tfds:"):
            builder, _ = tfds.make_builder(part, data_dir)
            builder.download_and_prepare(file_format="array_record")
            folders.append(pathlib.Path(builder.data_dir))
        elif known in sets.manifest():
            folder = root / known
            folders.append(folder)
            found = sets.manifest()[known]
            for entry in found["images"]:
                address = _address(url, found | entry)
                jobs.append((_fetch_image, address, entry, folder))
        else:
            known = part in sets.SETS
            folders.append(
                sets.set_folder(part, data_dir) if known else pathlib.Path(part)
            )
    if jobs:
        _run(jobs, name, progress)
    return folders


def open_or_fetch(
    name: str, data_dir: str | os.PathLike | None, **options
) -> sources.Source:
    """The images of a set, which is downloaded if it is missing.

    The arguments are those of `sets.open_source`.

    Raises:
        DataNotFound, FetchError: if it cannot be downloaded.
    """
    try:
        return sets.open_source(name, data_dir, **options)
    except sources.DataNotFound:
        if options.get("channels") is not None:  # nothing of that kind is fetched
            raise
        fetch(name, data_dir, progress=None)
        return sets.open_source(name, data_dir, **options)


def _fetch_weights(name, data_dir, url, progress):
    folder = name.removeprefix(WEIGHTS)
    root = sets.data_dirs(data_dir or os.environ.get("JAXSR_WEIGHTS"))[0]
    entries = {
        file: entry
        for file, entry in sets.weight_files().items()
        if file.startswith(f"{folder}/")
    }
    if not entries:
        known = sorted({file.partition("/")[0] for file in sets.weight_files()})
        raise ValueError(
            f"{WEIGHTS}... must be one of {[WEIGHTS + x for x in known]}; got {name!r}."
        )
    jobs = [
        (_fetch_file, _address(url, entry), entry["sha256"], root / file)
        for file, entry in entries.items()
    ]
    _run(jobs, name, progress)
    return [root / file for file in entries]


def _address(url, entry):
    path = urllib.parse.quote(entry["path"])
    return f"{url}/{entry['repository']}/{entry['commit']}/{path}"


def _run(jobs: list[tuple], name: str, progress: bool | None) -> None:
    """Downloads in parallel; gives up early if every download fails.

    Args:
        jobs: (function, address, its other arguments).
        name: of what is fetched.
        progress: None shows a bar on a terminal, and names no file that failed.
    """
    pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
    try:
        addresses = {pool.submit(*job): job[1] for job in jobs}
        finished = concurrent.futures.as_completed(addresses)
        disable = None if progress is None else not progress
        failures = []
        bar = tqdm.tqdm(
            finished,
            name,
            len(jobs),
            unit="file",
            disable=disable,
            leave=bool(progress),
        )
        for done, future in enumerate(bar, 1):
            if error := future.exception():
                failures.append(f"{addresses[future]}: {error}")
                if progress is not None:
                    tqdm.tqdm.write(failures[-1], file=sys.stderr)
            if len(failures) == done == min(WORKERS, len(jobs)):
                break
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        missing = sum(
            future.cancelled() or bool(future.exception()) for future in addresses
        )
        raise FetchError(
            f"{missing} of {len(jobs)} files of {name} could not be fetched, first "
            f"{failures[0]}. `jaxsr prepare {name}` tries the missing ones again."
        )


def _fetch_image(address: str, entry: dict, folder: pathlib.Path) -> None:
    if is_there(folder, entry):
        return
    target = folder / f"{entry['name']}{pathlib.PurePath(entry['path']).suffix}"
    _fetch_file(address, entry["sha256"], target)
    for wrong in set(_copies(folder, entry)) - {target}:
        wrong.unlink()


def _fetch_file(address: str, sha256: str, target: pathlib.Path) -> None:
    if target.is_file() and _sha256(target.read_bytes()) == sha256:
        return
    content = _download(address)
    if _sha256(content) != sha256:
        raise ValueError(f"its sha256 must be {sha256}; got {_sha256(content)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.written_whole(target) as file:
        file.write(content)


def _download(address: str) -> bytes:
    for pause in (*PAUSES, None):
        try:
            with urllib.request.urlopen(address, timeout=30) as response:
                return response.read()
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", None)  # None if the server did not answer
            if pause is None or code in range(400, 500) and code != 429:
                raise
            time.sleep(pause)


def _copies(folder: pathlib.Path, entry: dict) -> list[pathlib.Path]:
    found = folder.glob(f"{entry['name']}.*")
    return [file for file in found if reading.is_image(file)]


def is_there(folder: pathlib.Path, entry: dict) -> bool:
    """Whether a folder holds this file, or another file with the same pixels."""
    for file in _copies(folder, entry):
        if _sha256(file.read_bytes()) == entry["sha256"]:
            return True
        with contextlib.suppress(ValueError):
            if (
                _sha256(reading.read_as_stored(file).tobytes())
                == entry["pixels_sha256"]
            ):
                return True
    return False


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
