"""Yahoo Answers as Yang et al. (2017, arXiv 1702.08139) prepared it, with the files of Kim et al. (2018)."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from vaebench.atomic import write_bytes
from vaebench.data.files import download, find
from vaebench.data.spec import DataError, DataPaths, Splits
from vaebench.data.text import FILES, Batching, Text, TooLong
from vaebench.ranges import Count

NUM_LINES = {"train": 100_000, "valid": 10_000, "test": 10_000}
FOLDERS = ("yahoo", "Yahoo", "data/yahoo")
ARCHIVE = "1PecZKhrPkMZmvMyiOJfMS-FsHW3FE0rH"  # on Google Drive, as github.com/harvardnlp/sa-vae links it
URL = f"https://drive.usercontent.google.com/download?id={ARCHIVE}&export=download&confirm=t"
INSTRUCTIONS = (
    "Put yahoo/train.txt, yahoo/val.txt and yahoo/test.txt of the archive that github.com/harvardnlp/sa-vae "
    "links under Data (100,000, 10,000 and 10,000 lines) into {root}/yahoo/ (VAEBENCH_DATA or data_root=... "
    "names another root)."
)


class Yahoo(Text):
    """100,000 / 10,000 / 10,000 questions and answers; they are read as any other folder of sentences."""

    def __init__(
        self,
        paths: DataPaths,
        *,
        name: str,
        max_words: Count,
        max_vocabulary: Count,
        too_long: TooLong,
        batches: Batching,
    ) -> None:
        super().__init__(
            paths,
            name=name,
            folder=str(yahoo_folder(paths)),
            max_words=max_words,
            max_vocabulary=max_vocabulary,
            too_long=too_long,
            batches=batches,
        )

    def load(self) -> Splits:
        splits = super().load()
        for part, expected in NUM_LINES.items():
            facts = splits.origin[part]
            dropped = facts["too_long"] if self.too_long == "drop" else 0
            found = facts["sentences"] + facts["empty_lines"] + dropped
            if found != expected:
                raise DataError(
                    f"{self.files[part]} has {found} lines, and Yahoo Answers' {part} has {expected}; a "
                    f"folder of your own is dataset=text dataset.folder={self.files[part].parent}."
                )
        return splits


def yahoo_folder(paths: DataPaths) -> Path:
    """Where the files are, absolute; they are downloaded into the cache where the data root has none."""
    for folder in (*(paths.root / name for name in FOLDERS), paths.cache / "yahoo"):
        if all(find(folder, names) for names in FILES.values()):
            return folder.resolve()
    target = paths.cache / "yahoo"

    def fetch() -> None:
        with urlopen(URL, timeout=60) as answer:
            unpack_yahoo(answer.read(), target)

    download("Yahoo Answers", fetch, INSTRUCTIONS.format(root=paths.root))
    return target.resolve()


def unpack_yahoo(archive: bytes, target: Path) -> None:
    """The three files of the archive, under their own names in `target`. Raises OSError without them."""
    wanted = {name for names in FILES.values() for name in names}
    found = {}
    for member, content in members(archive):
        path = PurePosixPath(member)
        if path.parent.name == "yahoo" and path.name in wanted:
            found[path.name] = content
    if not all(any(name in found for name in names) for names in FILES.values()):
        raise OSError("what was downloaded has no yahoo/train.txt, yahoo/val.txt and yahoo/test.txt")
    for name, content in found.items():
        write_bytes(target / name, content)


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file in a .zip or .tar (compressed or not). Raises OSError for others."""
    file = io.BytesIO(archive)
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as folder:
                for info in folder.infolist():
                    yield info.filename, folder.read(info)
            return
        file.seek(0)
        with tarfile.open(fileobj=file) as tape:
            for member in tape:
                if (content := tape.extractfile(member)) is not None:
                    yield member.name, content.read()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise OSError(f"what was downloaded is no whole archive ({error})") from error
