"""The data folder: one server at a time, its account, its ports, its certificates."""

from __future__ import annotations

import base64
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from lote.server.certificate import LIFE_DAYS, RENEW_DAYS, make_certificates
from lote.server.folder import DataFolder, FolderInUse, Ports, write_private
from lote.settings import Settings
from lote.world import SteppedWorld, World

DAY_S = 86_400


@pytest.fixture
def folder(tmp_path):
    made = DataFolder(tmp_path / "data")
    yield made
    made.close()


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_has_one_server(folder):
    with pytest.raises(FolderInUse, match=f"pid {os.getpid()}"):
        DataFolder(folder.path)


def test_a_folder_can_be_had_again(tmp_path):
    for _ in range(2):
        folder = DataFolder(tmp_path)
        folder.ready.write_text("{}")
        folder.close()
        assert not folder.ready.exists()


def test_a_new_folder_is_its_owners_alone(folder):
    assert mode_of(folder.path) == 0o700
    folder.account(Settings(folder=folder.path), World())
    assert mode_of(folder.path / "account.json") == 0o600


def test_the_account_is_made_once(folder):
    settings = Settings(folder=folder.path)
    account, is_new = folder.account(settings, World())
    assert is_new
    assert (account.name, account.storage_name) == ("lote", "lotestorage")
    every_key = [*account.keys, *account.storage_keys]
    assert len(set(every_key)) == 4
    assert {len(base64.b64decode(key)) for key in every_key} == {64}
    assert folder.account(settings, World()) == (account, False)


def test_flags_beat_the_file_and_are_kept(folder):
    first, _ = folder.account(Settings(folder=folder.path), World())
    given = Settings(
        folder=folder.path, account="other", account_key="a2V5", storage_key="c3RvcmU="
    )
    changed, is_new = folder.account(given, World())
    assert not is_new
    assert (changed.name, changed.keys) == ("other", ("a2V5", first.keys[1]))
    assert changed.storage_keys == ("c3RvcmU=", first.storage_keys[1])
    assert folder.account(Settings(folder=folder.path), World()) == (changed, False)


def test_the_name_of_the_storage_account_fits(folder):
    account, _ = folder.account(Settings(folder=folder.path, account="a" * 24), World())
    assert len(account.storage_name) <= 24  # REST: names of storage accounts


def test_ports_are_remembered(folder):
    assert folder.ports() == Ports(0, 0, 0, 0)
    folder.remember(Ports(1, 2, 3, 4))
    assert folder.ports() == Ports(1, 2, 3, 4)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_private(path, b"before")
    os.chmod(path, 0o644)

    def fail(descriptor):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_private(path, b"after")
    assert path.read_bytes() == b"before"
    monkeypatch.undo()
    write_private(path, b"after")
    assert (path.read_bytes(), mode_of(path)) == (b"after", 0o600)
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


# -- certificates ---------------------------------------------------------------------------


@pytest.fixture
def world():
    """The real date to begin with: files are as old as the file system says."""
    return SteppedWorld(World().now_us())


def contents(files):
    return files.authority.read_bytes(), files.certificate.read_bytes()


def test_certificates_are_made_once(tmp_path, world):
    files = make_certificates(tmp_path, "127.0.0.1", world)
    made = contents(files)
    assert {mode_of(file) for file in (*files, tmp_path / "tls" / "ca.key")} == {0o600}
    world.advance((LIFE_DAYS - RENEW_DAYS - 1) * DAY_S)
    assert contents(make_certificates(tmp_path, "127.0.0.1", world)) == made
    context = ssl.create_default_context(cafile=files.authority)
    context.load_cert_chain(files.certificate, files.private_key)
    assert files.bundle.read_bytes().endswith(files.authority.read_bytes())


def test_old_certificates_are_renewed_by_the_same_authority(tmp_path, world):
    before = contents(make_certificates(tmp_path, "127.0.0.1", world))
    world.advance((LIFE_DAYS - RENEW_DAYS + 1) * DAY_S)
    after = contents(make_certificates(tmp_path, "127.0.0.1", world))
    assert after[0] == before[0]
    assert after[1] != before[1]
    authority, server = (x509.load_pem_x509_certificate(one) for one in after)
    server.verify_directly_issued_by(authority)
    assert (server.not_valid_after_utc - server.not_valid_before_utc).days <= 825


def test_another_host_gets_another_certificate(tmp_path, world):
    before = contents(make_certificates(tmp_path, "127.0.0.1", world))
    files = make_certificates(tmp_path, "batch.example", world)
    after = contents(files)
    assert after[0] == before[0]
    server = x509.load_pem_x509_certificate(after[1])
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "batch.example" in names.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))


@pytest.mark.parametrize("missing", ["ca.pem", "server.pem", "server.key", "names", "bundle.pem"])
def test_what_is_missing_is_made_again(tmp_path, world, missing):
    make_certificates(tmp_path, "127.0.0.1", world)
    (tmp_path / "tls" / missing).unlink()
    files = make_certificates(tmp_path, "127.0.0.1", world)
    authority, server = (x509.load_pem_x509_certificate(one) for one in contents(files))
    server.verify_directly_issued_by(authority)
    assert all(Path(one).exists() for one in files)
