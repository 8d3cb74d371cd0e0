"""One function per operation: takes a ``Call`` and the ``Endpoint``, gives an ``Answer``."""
