"""The development issuer: tokens for one application of this folder, by a key of its own.

Its folder holds the signing key, the application's secret (both mode 0600) and the public key set
that those read who check tokens. All three are made at first start.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lote.tokens.trust import TrustedIssuer
from lote.world import World

TOKEN_S = 3600  # life of a token that a client asked for
SECRET_BYTES = 32
ALGORITHM = "ES256"  # its keys are made in no time, where RSA's take a second
SCOPE_SUFFIX = "/.default"  # clients ask for all that the application may do on a resource

WritePrivate = Callable[[Path, bytes], None]


class Application(msgspec.Struct):
    """The one application that may ask for tokens, as clients know it."""

    tenant: str
    client_id: str
    client_secret: str
    object_id: str
    key_id: str


class DevelopmentIssuer(NamedTuple):
    """``name`` is how its tokens call it; ``authority`` the URL above the tenant."""

    application: Application
    name: str
    authority: str
    folder: Path
    world: World

    @property
    def trusted(self) -> TrustedIssuer:
        """The issuer for those who check tokens."""
        return TrustedIssuer(self.name, str(self.folder / "jwks.json"))

    def is_client(self, client_id: str, client_secret: str) -> bool:
        """Whether these are the application's; in constant time."""
        same_id = hmac.compare_digest(client_id.encode(), self.application.client_id.encode())
        secret = self.application.client_secret.encode()
        return hmac.compare_digest(client_secret.encode(), secret) and same_id

    def issue(self, audiences: Sequence[str], life_s: int = TOKEN_S) -> str:
        """A token for the application, good for ``life_s`` seconds from now."""
        import jwt

        now_s = self.world.now_us() // 1_000_000
        application = self.application
        claims: dict[str, Any] = {
            "iss": self.name,
            "aud": audiences[0] if len(audiences) == 1 else list(audiences),
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + life_s,
            "sub": application.object_id,
            "oid": application.object_id,
            "tid": application.tenant,
            "appid": application.client_id,
            "azp": application.client_id,
            "idtyp": "app",
            "ver": "1.0",
            "uti": self.world.new_guid(),
        }
        key = (self.folder / "signing.pem").read_bytes()
        token: str = jwt.encode(claims, key, ALGORITHM, headers={"kid": application.key_id})
        return token

    def key_set(self) -> bytes:
        """The public keys, as JSON."""
        return (self.folder / "jwks.json").read_bytes()

    def metadata(self, base_url: str) -> dict[str, Any]:
        """OpenID metadata, with the URLs as this client reaches them."""
        tenant_url = f"{base_url}/{self.application.tenant}"
        return {
            "issuer": self.name,
            "authorization_endpoint": f"{tenant_url}/oauth2/v2.0/authorize",
            "token_endpoint": f"{tenant_url}/oauth2/v2.0/token",
            "jwks_uri": f"{tenant_url}/discovery/v2.0/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }


def open_issuer(
    folder: Path, authority: str, world: World, write: WritePrivate
) -> DevelopmentIssuer:
    """The issuer of a folder; makes what is missing. ``authority``: its URL without the tenant."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "application.json"
    names = ("signing.pem", "jwks.json")
    if not path.exists() or not all((folder / name).exists() for name in names):
        application = make_files(folder, world, write)
        write(path, msgspec.json.format(msgspec.json.encode(application), indent=1))
    else:
        application = msgspec.json.decode(path.read_bytes(), type=Application)
    name = f"{authority}/{application.tenant}/v2.0"
    return DevelopmentIssuer(application, name, authority, folder, world)


def make_files(folder: Path, world: World, write: WritePrivate) -> Application:
    """A new signing key, its public key set, and an application with a secret."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm

    key = ec.generate_private_key(ec.SECP256R1())
    key_id = world.new_guid()
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public |= {"kid": key_id, "use": "sig", "alg": ALGORITHM}
    write(
        folder / "signing.pem",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write(folder / "jwks.json", msgspec.json.encode({"keys": [public]}))
    secret = urlsafe_b64encode(world.new_secret(SECRET_BYTES)).decode().rstrip("=")
    return Application(world.new_guid(), world.new_guid(), secret, world.new_guid(), key_id)


def audience_of(scope: str) -> str:
    """The audience of a scope such as ``https://storage.azure.com/.default``."""
    return scope.removesuffix(SCOPE_SUFFIX)
