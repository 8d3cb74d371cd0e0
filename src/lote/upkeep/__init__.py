"""Care of a data folder as a whole: copies of it that can be trusted, and folders made from them.

Nothing here serves requests. It works beside a running server: it reads what that has committed,
and writes only folders of its own.
"""
