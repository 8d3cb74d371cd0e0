"""The built-in storage account: an HTTP endpoint that speaks the Azure Blob protocol.

A request goes ``app`` (authenticate, match a row of ``operations``) → ``handlers`` → ``writer`` or
``reader`` → rows in SQLite and content files in the folder. Bytes are on disk before the rows that
name them are committed, and nothing is answered before that commit.
"""
