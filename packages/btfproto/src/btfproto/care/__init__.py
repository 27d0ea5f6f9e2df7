"""Care of a store: is every byte still what was signed, how much room does it take, what can still be read.

Nothing here changes a store. `scrub_store` needs no keys, `scrub_tree` a file system that has them; `inspect_files`
and `measure` look at the files of an embedded store.
"""

from ._files import Usage, inspect_files, measure
from ._scrub import Damage, Meter, scrub_store
from ._tree import Unreadable, scrub_tree

__all__ = ["Damage", "Meter", "Unreadable", "Usage", "inspect_files", "measure", "scrub_store", "scrub_tree"]
