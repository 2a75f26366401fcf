"""Image sets fetched from where the manifest says, each file checked by SHA-256."""

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
from jaxsr.data import sources

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
    """The folders of a set, after fetching into them every file that is not there.

    A file there with the right content is kept, whatever its format; one with the wrong
    content is replaced. Stopped at any moment, the next call goes on. A "tfds:" set is
    downloaded and prepared by TFDS.

    Args:
        data_dir: the folders go in here; by default into $JAXSR_DATA, without that into
            ~/.cache/jaxsr/data.
        url: server of {repository}/{commit}/{path}.

    Raises:
        FetchError: some files could not be had; each is named on the terminal. The rest
            was fetched, unless not a single one could be had.
        DataNotFound: the set has no place to be fetched from, and is not there.
    """
    root = sources.data_dirs(data_dir)[0]
    folders, jobs = [], []
    for part in sources.parts_of(name):
        if part.startswith("tfds:"):
            builder, _ = sources.tfds_builder(part, data_dir)
            builder.download_and_prepare(file_format="array_record")
            folders.append(pathlib.Path(builder.data_dir))
        elif part in sources.SETS and sources.SETS[part].folder in sources.manifest():
            folder = root / sources.SETS[part].folder
            folders.append(folder)
            found = sources.manifest()[folder.name]
            base = f"{url}/{found['repository']}/{found['commit']}"
            for entry in found["images"]:
                address = f"{base}/{urllib.parse.quote(entry['path'])}"
                jobs.append((address, entry, folder))
        else:
            known = part in sources.SETS
            folders.append(
                sources.set_folder(part, data_dir) if known else pathlib.Path(part)
            )
    if jobs:
        _run(jobs, name, progress)
    return folders


def _run(jobs: list[tuple], name: str, progress: bool) -> None:
    """Fetches in parallel; gives up early where nothing at all can be had."""
    pool = concurrent.futures.ThreadPoolExecutor(WORKERS)
    try:
        addresses = {pool.submit(_fetch_image, *job): job[0] for job in jobs}
        finished = concurrent.futures.as_completed(addresses)
        failures = []
        for done, future in enumerate(
            tqdm.tqdm(finished, name, len(jobs), unit="file", disable=not progress), 1
        ):
            if error := future.exception():
                failures.append(f"{addresses[future]}: {error}")
                tqdm.tqdm.write(failures[-1], file=sys.stderr)
            if len(failures) == done == WORKERS:
                break
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        missing = sum(
            future.cancelled() or bool(future.exception()) for future in addresses
        )
        raise FetchError(
            f"{missing} of {len(jobs)} files of {name} could not be fetched, first "
            f"{failures[0]}. The same command tries the missing ones again."
        )


def _fetch_image(address: str, entry: dict, folder: pathlib.Path) -> None:
    if is_there(folder, entry):
        return
    content = _download(address)
    if _sha256(content) != entry["sha256"]:
        raise ValueError(
            f"its sha256 must be {entry['sha256']}; got {_sha256(content)}"
        )
    target = folder / f"{entry['name']}{pathlib.PurePath(entry['path']).suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    with files.written_whole(target) as file:
        file.write(content)
    for wrong in set(_copies(folder, entry)) - {target}:
        wrong.unlink()


def _download(address: str) -> bytes:
    for pause in (*PAUSES, None):
        try:
            with urllib.request.urlopen(address, timeout=30) as response:
                return response.read()
        except (OSError, http.client.HTTPException) as error:
            code = getattr(error, "code", None)  # of an answer; others can't be reached
            if pause is None or code in range(400, 500) and code != 429:
                raise
            time.sleep(pause)


def _copies(folder: pathlib.Path, entry: dict) -> list[pathlib.Path]:
    found = folder.glob(f"{entry['name']}.*")
    return [file for file in found if file.suffix.lower() in files.READABLE]


def is_there(folder: pathlib.Path, entry: dict) -> bool:
    """Whether a folder holds the very file, or another one of the same pixels."""
    for file in _copies(folder, entry):
        if _sha256(file.read_bytes()) == entry["sha256"]:
            return True
        with contextlib.suppress(ValueError):
            if _sha256(sources.read_pixels(file).tobytes()) == entry["pixels_sha256"]:
                return True
    return False


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
