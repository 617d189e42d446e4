"""CIFAR-10 in all its forms, and nothing else under its name."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from cvxrobust import InputError
from cvxrobust.bench.data import cifar
from cvxrobust.bench.data.cifar import fetch_archive, load_cifar, synthetic_images
from cvxrobust.bench.data.known import CIFAR10, KnownFile, find_file


@pytest.fixture
def parts(monkeypatch):
    """Six parts of four images each, which are for now what CIFAR-10 is."""
    found = [synthetic_images(4, seed) for seed in range(6)]
    digests = [hashlib.sha256(part.images.tobytes()).hexdigest() for part in found]
    monkeypatch.setattr(cifar, "IMAGES_SHA256", tuple(digests))
    monkeypatch.setattr(
        cifar, "LABELS_SHA256",
        tuple(hashlib.sha256(part.labels.astype(np.uint8).tobytes()).hexdigest() for part in found),
    )  # fmt: skip
    return found


def batch(part):
    """As published: rows of 3072 bytes, a list of labels, keys of bytes."""
    content = {b"data": part.images.reshape(len(part), -1), b"labels": part.labels.tolist(), b"batch_label": b"some"}
    return pickle.dumps(content, protocol=2)


def check(found, parts):
    train, test = found
    assert np.array_equal(train.images, np.concatenate([part.images for part in parts[:5]]))
    assert np.array_equal(train.labels, np.concatenate([part.labels for part in parts[:5]]))
    assert np.array_equal(test.images, parts[5].images)
    assert np.array_equal(test.labels, parts[5].labels)
    assert train.labels.dtype == np.int64


def packed(folder, parts):
    with tarfile.open(folder / cifar.ARCHIVE, "w:gz") as tar:
        for name, part in zip(cifar.PARTS, parts, strict=True):
            content = batch(part)
            member = tarfile.TarInfo(f"{cifar.BATCHES}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder / cifar.ARCHIVE


def test_arrays_are_read(tmp_path, monkeypatch, parts):
    known = []
    for number, part in enumerate(parts):
        path = tmp_path / f"part_{number}.npz"
        np.savez(path, images=part.images, labels=part.labels.astype(np.uint8))
        known.append(KnownFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "nowhere"))
    monkeypatch.setattr(cifar, "CIFAR10", tuple(known))
    check(load_cifar(tmp_path), parts)


@pytest.mark.parametrize("below", [False, True], ids=["in the folder", "in the folder of the archive"])
def test_batches_are_read(tmp_path, parts, below):
    folder = tmp_path / cifar.BATCHES if below else tmp_path
    folder.mkdir(exist_ok=True)
    for name, part in zip(cifar.PARTS, parts, strict=True):
        (folder / name).write_bytes(batch(part))
    check(load_cifar(tmp_path), parts)


def test_the_archive_is_read(tmp_path, parts):
    packed(tmp_path, parts)
    check(load_cifar(tmp_path), parts)


def test_the_archive_is_fetched_and_checked(tmp_path, parts):
    (tmp_path / "there").mkdir()
    archive = packed(tmp_path / "there", parts)
    digest, origin = hashlib.sha256(archive.read_bytes()).hexdigest(), archive.as_uri()
    with pytest.raises(InputError, match="nothing was kept"):
        fetch_archive(tmp_path / "here", origin, "0" * 64)
    assert list((tmp_path / "here").iterdir()) == []
    assert fetch_archive(tmp_path / "here", origin, digest).is_file()
    check(load_cifar(tmp_path / "here"), parts)
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch_archive(tmp_path, (tmp_path / "nothing").as_uri())


def test_other_images_are_refused(tmp_path, parts):
    parts[2].images[0, 0, 0, 0] ^= 1
    for name, part in zip(cifar.PARTS, parts, strict=True):
        (tmp_path / name).write_bytes(batch(part))
    with pytest.raises(InputError, match=r"data_batch_3 holds other images"):
        load_cifar(tmp_path)


class Evil:
    def __reduce__(self):
        return print, ("this must not be printed",)


def test_a_pickle_that_calls_anything_is_refused(tmp_path, capsys, parts):
    (tmp_path / cifar.PARTS[0]).write_bytes(pickle.dumps({b"data": Evil()}, protocol=2))
    with pytest.raises(InputError, match=r"it wants (builtins|__builtin__)\.print"):
        load_cifar(tmp_path)
    assert capsys.readouterr().out == ""


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"cifar10_train_1\.npz, which does not exist"):
        load_cifar(tmp_path)
    monkeypatch.delenv("CVXROBUST_DATA", raising=False)
    with pytest.raises(InputError, match="no data folder is given"):
        load_cifar()


def test_batches_are_held_to_the_labels_of_the_arrays_at_hand():
    if not os.environ.get("CVXROBUST_DATA"):
        pytest.skip("CVXROBUST_DATA names no data folder")
    with np.load(find_file(CIFAR10[5], "cifar-10", None)) as file:
        assert hashlib.sha256(file["labels"].tobytes()).hexdigest() == cifar.LABELS_SHA256[5]
