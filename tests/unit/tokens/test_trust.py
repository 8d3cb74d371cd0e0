"""Whose tokens are taken, and when an issuer's keys are read."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from lote.tokens.issuer import audience_of, open_issuer
from lote.tokens.trust import (
    KEYS_LIFE_S,
    REFRESH_MIN_S,
    KeySource,
    KeysUnavailable,
    TrustedIssuer,
    parse_issuer,
    parse_issuers,
)
from lote.tokens.verify import SKEW_S, BadToken, TokenVerifier
from lote.world import SteppedWorld

AUDIENCE = "https://storage.azure.com"
ISSUER = "https://issuer.example/"


class Clock(SteppedWorld):
    """A world whose monotonic clock is advanced as well."""

    def __init__(self):
        super().__init__()
        self.elapsed_s = 1000.0

    def monotonic(self):
        return self.elapsed_s


def write(path, content):
    path.write_bytes(content)


def public_key(key, algorithm, **more):
    rsa_kind, ec_kind = jwt.algorithms.RSAAlgorithm, jwt.algorithms.ECAlgorithm
    kinds = {"R": rsa_kind, "P": rsa_kind, "E": ec_kind}
    kind = jwt.algorithms.OKPAlgorithm if algorithm == "EdDSA" else kinds[algorithm[0]]
    return kind.to_jwk(key.public_key(), as_dict=True) | more


def verify(verifier, token, audiences=(AUDIENCE,)):
    return asyncio.run(verifier.verify(token, audiences))


def claims_at(world, **more):
    now_s = world.now_us() // 1_000_000
    return {"iss": ISSUER, "aud": AUDIENCE, "exp": now_s + 60, "oid": "me", "tid": "t"} | more


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "jwks.json"

    def save(*keys):
        path.write_text(json.dumps({"keys": list(keys)}))
        return str(path)

    return save


def test_the_development_issuers_tokens_are_taken(tmp_path):
    world = Clock()
    issuer = open_issuer(tmp_path / "tokens", "https://here:1", world, write)
    found = verify(TokenVerifier([issuer.trusted], world), issuer.issue([AUDIENCE]))
    application = issuer.application
    assert found.oid == application.object_id
    assert (found.tid, found.app_id) == (application.tenant, application.client_id)


def test_the_development_issuer_is_the_same_after_a_restart(tmp_path):
    world = Clock()
    first = open_issuer(tmp_path / "tokens", "https://here:1", world, write)
    again = open_issuer(tmp_path / "tokens", "https://here:1", world, write)
    assert again.application == first.application
    verify(TokenVerifier([again.trusted], world), first.issue([AUDIENCE]))
    assert "private" not in again.key_set().decode().lower()
    assert '"d"' not in again.key_set().decode()


def test_only_its_client_is_known(tmp_path):
    issuer = open_issuer(tmp_path / "tokens", "https://here:1", Clock(), write)
    known = issuer.application
    assert issuer.is_client(known.client_id, known.client_secret)
    assert not issuer.is_client(known.client_id, "")
    assert not issuer.is_client("", known.client_secret)
    assert not issuer.is_client("é", "é")


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65537, 2048), "RS256"),
        (lambda: rsa.generate_private_key(65537, 2048), "PS384"),
        (lambda: ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate, "EdDSA"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_algorithms_that_are_taken(key_file, make, algorithm, named):
    world, key = Clock(), make()
    jwks = key_file(public_key(key, algorithm, **({"kid": "k1"} if named else {})))
    token = jwt.encode(claims_at(world), key, algorithm, headers={"kid": "k1"} if named else None)
    assert verify(TokenVerifier([TrustedIssuer(ISSUER, jwks)], world), token).oid == "me"


def test_a_key_is_good_for_its_own_algorithm_and_use_alone(key_file):
    world, key = Clock(), rsa.generate_private_key(65537, 2048)
    token = jwt.encode(claims_at(world), key, "RS256")
    for more in ({"alg": "RS512"}, {"use": "enc"}):
        jwks = key_file(public_key(key, "RS256", **more))
        with pytest.raises(BadToken, match="No key of the issuer"):
            verify(TokenVerifier([TrustedIssuer(ISSUER, jwks)], world), token)


def test_clocks_may_differ_by_the_skew_and_no_more(key_file):
    world, key = Clock(), ec.generate_private_key(ec.SECP256R1())
    jwks = key_file(public_key(key, "ES256"))
    verifier = TokenVerifier([TrustedIssuer(ISSUER, jwks)], world)
    now_s = world.now_us() // 1_000_000

    def ask(**times):
        verify(verifier, jwt.encode(claims_at(world, **times), key, "ES256"))

    ask(exp=now_s - SKEW_S + 1, nbf=now_s + SKEW_S)
    with pytest.raises(BadToken, match="expired"):
        ask(exp=now_s - SKEW_S)
    with pytest.raises(BadToken, match="not valid yet"):
        ask(nbf=now_s + SKEW_S + 1)


def test_a_known_token_is_still_judged(tmp_path, key_file):
    """Its signature is not checked again for a while; its lifetime and audience always are."""
    world, key = Clock(), ec.generate_private_key(ec.SECP256R1())
    verifier = TokenVerifier([TrustedIssuer(ISSUER, key_file(public_key(key, "ES256")))], world)
    token = jwt.encode(claims_at(world), key, "ES256")
    verify(verifier, token)
    with pytest.raises(BadToken, match="Audience"):
        verify(verifier, token, ["https://elsewhere.example"])
    with pytest.raises(BadToken, match="Signature"):
        verify(verifier, token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"))
    (tmp_path / "jwks.json").unlink()
    verify(verifier, token)
    world.advance(60 + SKEW_S)
    with pytest.raises(BadToken, match="expired"):
        verify(verifier, token)
    world.elapsed_s += KEYS_LIFE_S + 1
    with pytest.raises(BadToken, match="keys of the token's issuer"):
        verify(verifier, token)


def test_a_new_key_is_found_but_not_looked_for_all_the_time(key_file):
    world, old, new = Clock(), *(ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    jwks = key_file(public_key(old, "ES256", kid="old"))
    source = KeySource(jwks, world)
    find = lambda name: [key["kid"] for key in asyncio.run(source.find(name))]  # noqa: E731
    assert find("old") == ["old"]
    key_file(public_key(new, "ES256", kid="new"))
    assert find("new") == []
    world.elapsed_s += REFRESH_MIN_S
    assert find("new") == ["new"]
    assert find("old") == []


def test_old_keys_are_not_relied_upon_for_ever(tmp_path, key_file):
    world, key = Clock(), ec.generate_private_key(ec.SECP256R1())
    jwks = key_file(public_key(key, "ES256", kid="k"))
    source = KeySource(jwks, world)
    assert asyncio.run(source.find("k"))
    (tmp_path / "jwks.json").unlink()
    assert asyncio.run(source.find("k"))
    world.elapsed_s += KEYS_LIFE_S + 1
    with pytest.raises(KeysUnavailable):
        asyncio.run(source.find("k"))
    assert asyncio.run(source.find("k")) == []


class Pages(BaseHTTPRequestHandler):
    """Counts who asks, and answers with the server's ``document``."""

    def do_GET(self):
        self.server.asked += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.document)

    def log_message(self, *words):
        return


@pytest.fixture
def pages():
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        server.asked, server.document = 0, b""
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_keys_are_fetched_once_for_many_tokens(pages):
    world, key = Clock(), ec.generate_private_key(ec.SECP256R1())
    pages.document = json.dumps({"keys": [public_key(key, "ES256", kid="k")]}).encode()
    url = f"http://127.0.0.1:{pages.server_port}/keys"
    verifier = TokenVerifier([parse_issuer(f"{ISSUER}={url}")], world)
    token = jwt.encode(claims_at(world), key, "ES256", headers={"kid": "k"})
    assert pages.asked == 0  # not before the first token

    async def many():
        return await asyncio.gather(*(verifier.verify(token, [AUDIENCE]) for _ in range(8)))

    assert {one.oid for one in asyncio.run(many())} == {"me"}
    assert pages.asked == 1


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys": 1}', b"\xff", b"x" * (1 << 20 | 1)])
def test_what_is_no_key_set_is_refused(pages, document):
    world, key = Clock(), ec.generate_private_key(ec.SECP256R1())
    pages.document = document
    url = f"http://127.0.0.1:{pages.server_port}/keys"
    verifier = TokenVerifier([TrustedIssuer(ISSUER, url)], world)
    with pytest.raises(BadToken, match="keys of the token's issuer"):
        verify(verifier, jwt.encode(claims_at(world), key, "ES256"))


@pytest.mark.parametrize("text", ["", "issuer", "=file", "i=", "i=http://elsewhere.example/keys"])
def test_issuers_that_cannot_be(text):
    with pytest.raises(ValueError, match=r"ISSUER=JWKS|https"):
        parse_issuer(text)


def test_several_issuers():
    found = parse_issuers("https://a/=/keys.json https://b/=https://b/keys?x=1")
    assert found == [
        TrustedIssuer("https://a/", "/keys.json"),
        TrustedIssuer("https://b/", "https://b/keys?x=1"),
    ]
    assert parse_issuers(None) == []


def test_scopes_name_audiences():
    assert audience_of("https://storage.azure.com/.default") == AUDIENCE
    assert audience_of("https://storage.azure.com//.default") == f"{AUDIENCE}/"
