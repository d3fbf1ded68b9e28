"""What ``read_regular_file`` reads, and what it refuses to wait for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from invokeai_external.regular_files import read_regular_file


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1\r\n2")
    assert read_regular_file(path, 4) == b"1\r\n2"
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is checked
        read_regular_file(path, 3)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_nothing_waits_for_a_pipe_and_no_folder_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is checked
            read_regular_file(path, 10)
        assert caught.value.errno == errno.EINVAL
