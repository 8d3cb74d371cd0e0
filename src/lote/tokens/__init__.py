"""Bearer tokens: whom they name, and an issuer of the service's own. Cryptography is PyJWT's."""
