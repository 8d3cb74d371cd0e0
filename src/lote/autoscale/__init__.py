"""The language of autoscale formulas: read a text once, evaluate it as often as wanted.

``formula`` is the door: ``parse_formula`` and ``Formula.evaluate``. A text goes through ``tokens``
and ``parser`` into ``instructions``, which ``run`` carries out over the samples of a pool. To add a
function, a method or a variable is to add a row to ``functions``, ``metrics`` or ``variables``.
Nothing here knows the time, the database or luck: all are arguments.
"""
