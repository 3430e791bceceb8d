import os
import stat
from pathlib import Path

import pytest

from outrider.kube.embedded.layout import DataFolderInUseError, FolderLock, Layout


def test_folders_are_closed_even_where_they_were_open(tmp_path: Path) -> None:
    root = tmp_path / "deep" / "data"
    (root / "pki").mkdir(parents=True)
    root.chmod(0o755)
    (root / "pki").chmod(0o777)
    layout = Layout(root)
    layout.create()
    for folder in (layout.root, layout.pki, layout.etcd, layout.logs, layout.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    first.acquire()
    with pytest.raises(DataFolderInUseError, match=rf"{tmp_path} is in use .*process {os.getpid()}\)"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_releasing_twice_or_never_held_is_harmless(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock")
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()


def test_a_shorter_process_id_replaces_a_longer_one(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999999\n")
    lock = FolderLock(tmp_path / "lock")
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
