"""Named bytes of any Blob account: the small client that agents use, signed URLs, accounts.

``client`` speaks HTTP itself and costs little to import; only ``external`` (for the service),
``remote`` and ``carry`` (for people) load the official SDK, and only when they are first used. The
built-in endpoint lives in the room ``storage``.
"""
