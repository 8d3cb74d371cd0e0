"""What nodes are told of their pool."""

from __future__ import annotations

import pytest
from bench import a_pool

from lote.wire.frames import Setup

EVERYBODY = ["remoteuser", "starttask", "task"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([None], EVERYBODY),
        ([[]], EVERYBODY),
        ([["starttask"]], ["starttask"]),
        ([["task"], ["remoteuser", "task"]], ["remoteuser", "task"]),
        ([], []),
    ],
    ids=["nothing said", "an empty list", "one", "several", "no references"],
)
def test_who_sees_certificates(bench, monkeypatch, given, told):
    references = []
    for number, visibility in enumerate(given):
        reference = {"thumbprint": f"{number:040x}", "thumbprintAlgorithm": "sha1"}
        references.append(reference | ({} if visibility is None else {"visibility": visibility}))
    monkeypatch.setattr("lote.server.new_pools.check_certificates", lambda db, references: None)
    setups = []
    fake = bench.engine._switchboard

    def connect(node_id, secret, send):
        def seen(frames):
            setups.extend(one for one in frames if isinstance(one, Setup))
            send(frames)

        return type(fake).connect(fake, node_id, secret, seen)

    monkeypatch.setattr(fake, "connect", connect)
    bench.ask("create_pool", a_pool(certificateReferences=references))
    assert [setup.certificates for setup in setups] == [told]
