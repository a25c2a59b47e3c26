"""Yahoo Answers as prepared by Yang et al. (2017, arXiv 1702.08139), in the files of Kim et al. (2018)."""

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
    "sets another root)."
)


class Yahoo(Text):
    """Yahoo Answers: 100,000 / 10,000 / 10,000 questions and answers, read as a folder of sentences."""

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
            num_lines = facts["sentences"] + facts["empty_lines"] + dropped
            if num_lines != expected:
                raise DataError(
                    f"{self.files[part]} has {num_lines} lines; the {part} split of Yahoo Answers has "
                    f"{expected}. For other sentences use dataset=text "
                    f"dataset.folder={self.files[part].parent}."
                )
        return splits


def yahoo_folder(paths: DataPaths) -> Path:
    """Return the absolute folder of the files; they are downloaded to the cache if the data root has none."""
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
    """Write the three files of the archive to `target`. Raises OSError if one is missing."""
    expected = {name for names in FILES.values() for name in names}
    contents = {}
    for member, content in members(archive):
        path = PurePosixPath(member)
        if path.parent.name == "yahoo" and path.name in expected:
            contents[path.name] = content
    if not all(any(name in contents for name in names) for names in FILES.values()):
        raise OSError("the download does not contain yahoo/train.txt, yahoo/val.txt and yahoo/test.txt")
    for name, content in contents.items():
        write_bytes(target / name, content)


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file in a .zip or .tar, compressed or not.

    Raises OSError if the archive is of another type, or damaged.
    """
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
        raise OSError(f"the download is not an intact archive ({error})") from error
