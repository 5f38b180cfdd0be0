"""Makes a component of a package's Python modules.

`tools` keeps componentize-py, `roles` finds what a module defines, `component` puts them together. Nothing here is part of a
component, and nothing needs more than the standard library.
"""


class BuildError(Exception):
    """Why a package cannot be built: what is wrong, where, and what to do."""
