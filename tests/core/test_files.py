"""Files are whole whatever happens to their writers, and say beforehand whether they can be written."""

import errno
import os
import signal
import stat
import time

import pytest

from cvxrobust.core.errors import InputError, WriteError
from cvxrobust.core.files import PART, check_room, together, whole_file, write_whole

CONTENTS = (b"a" * 300_000, b"b" * 200_000)


def killed_writer(path, delay):
    """A process that writes both contents in turn, and is killed so many seconds after the first."""
    ready, begun = os.pipe()
    child = os.fork()
    if not child:
        while True:
            for content in CONTENTS:
                with whole_file(path) as file:
                    for start in range(0, len(content), 50_000):
                        file.write(content[start : start + 50_000])
                        file.flush()
                os.write(begun, b".")
    os.read(ready, 1)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(begun)


def parts(folder):
    return [path.name for path in folder.iterdir() if path.name.endswith(PART)]


def test_killed_writers_leave_the_old_or_the_new_file_and_the_next_writer_cleans_up(tmp_path):
    path, found, left = tmp_path / "file", set(), []
    write_whole(path, CONTENTS[0])
    while len(left) < 10 or (max(left) == 0 and len(left) < 200):  # until a kill came in the middle
        killed_writer(path, 0.003 * (len(left) % 5))
        found.add(path.read_bytes())
        left.append(len(parts(tmp_path)))
    assert found <= set(CONTENTS)
    assert max(left) == 1  # each writer removed what the last one left
    write_whole(tmp_path / "another", "")
    assert parts(tmp_path) == []


def test_what_another_writer_is_at_is_left_alone(tmp_path):
    with whole_file(tmp_path / "slow") as file:
        file.write(b"half")
        file.flush()
        child = os.fork()
        if not child:
            write_whole(tmp_path / "slow", "quick")
            os._exit(0)
        os.waitpid(child, 0)
        write_whole(tmp_path / "other", "")
        assert (tmp_path / "slow").read_bytes() == b"quick"
        assert len(parts(tmp_path)) == 1
        file.write(b" and half")
    assert (tmp_path / "slow").read_bytes() == b"half and half"
    assert parts(tmp_path) == []


def test_a_file_under_way_that_was_taken_for_a_leftover_is_begun_anew(tmp_path, monkeypatch):
    import cvxrobust.core.files as files

    lock, taken = files._lock, []

    def after_somebody_cleaned(file, wait):
        if wait and not taken:
            taken.extend(parts(tmp_path))
            (tmp_path / taken[0]).unlink()
        return lock(file, wait)

    monkeypatch.setattr(files, "_lock", after_somebody_cleaned)
    write_whole(tmp_path / "file", "whole")
    assert taken
    assert (tmp_path / "file").read_text() == "whole"


def test_permissions_stay_and_links_are_followed(tmp_path):
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_text("old")
    secret.chmod(0o600)
    link.symlink_to(secret)
    write_whole(link, "new")
    assert link.is_symlink()
    assert secret.read_text() == "new"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    mask = os.umask(0o027)
    try:
        write_whole(tmp_path / "fresh", "")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o640


@pytest.mark.parametrize("call", ["os.fsync", "os.replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(WriteError, match=r"file cannot be written: No space left on device") as caught:
            write_whole(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_whole(path, "old")

    def interrupted():
        with whole_file(path) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_belong_together_take_their_names_at_the_end(tmp_path, monkeypatch):
    one, other = tmp_path / "one", tmp_path / "other"

    def write(suffix):
        with together() as content:
            write_whole(one, f"one {suffix}")
            assert content(one).read_text() == f"one {suffix}"
            write_whole(other, f"other {suffix}")
            if suffix == "old":
                assert not one.exists()
            else:
                assert one.read_text() == "one old"

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    write("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(WriteError, match="one cannot be written: No space left"):
            write("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]
    write("new")
    assert (one.read_text(), other.read_text()) == ("one new", "other new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_devices_and_pipes_are_written_to_as_they_are(tmp_path):
    write_whole("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "through")
    assert os.read(reader, 20) == b"through"
    os.close(reader)
    with pytest.raises(WriteError, match="No space left"):
        write_whole("/dev/full", "x")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "which is a folder"),
        ("missing/file", "nothing can be written to .*No such file"),
        ("file/file", "nothing can be written to .*Not a directory"),
        ("n" * 300, "which cannot be a file: File name too long"),
    ],
)
def test_what_cannot_be_written_is_found_beforehand_and_said_afterwards(tmp_path, name, why):
    (tmp_path / "file").write_text("")
    path = tmp_path / name
    with pytest.raises(InputError, match=why):
        check_room(path)
    with pytest.raises(WriteError, match="cannot be written"):
        write_whole(path, "x")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_found_beforehand(tmp_path, monkeypatch):
    check_room(tmp_path / "file")
    assert not list(tmp_path.iterdir())

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"--save names .*, but nothing can be written to .*No space left"):
        check_room(tmp_path / "file", "--save names")
    assert not list(tmp_path.iterdir())
