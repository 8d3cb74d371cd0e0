"""Named bytes of any Blob account: the small client that agents use, signed URLs, accounts.

``client`` speaks HTTP itself and costs little to import; only ``external`` loads the official
storage SDK, and only when it is first used. The built-in endpoint lives in the room ``storage``.
"""
