"""Tests that a failed download ends in instructions."""

import http.client
from urllib.error import URLError

import pytest

from vaebench.data.files import download
from vaebench.data.spec import DataError


@pytest.mark.parametrize(
    "error",
    [URLError("no network"), http.client.IncompleteRead(b"half"), RuntimeError("hash"), ValueError("quota")],
    ids=lambda error: type(error).__name__,
)
def test_a_download_that_fails_says_which_file_goes_where(error: Exception) -> None:
    def fetch() -> None:
        raise error

    with pytest.raises(DataError, match=r"(?s)MNIST is not here and could not be downloaded .*put it there"):
        download("MNIST", fetch, "put it there")


def test_what_is_wrong_with_what_did_arrive_is_said_as_it_is() -> None:
    def fetch() -> None:
        raise DataError("it is corrupt")

    with pytest.raises(DataError, match=r"^it is corrupt$"):
        download("MNIST", fetch, "put it there")
