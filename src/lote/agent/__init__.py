"""The node agent: runs tasks on one node and tells the server what became of them.

A talker (one process with an event loop) holds the channel to the server; a few spawners (small,
single-threaded, forked before the talker loads anything large) start, watch and kill processes.
Import nothing here: what this package loads, every spawner carries.
"""
