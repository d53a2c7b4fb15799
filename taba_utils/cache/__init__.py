"""Results on disk under everything that determines them.

`sources`, `compiled` and `fingerprint` say what a result follows from, `store` keeps tensors, `shards` computes what is
missing, `prune` removes what today's code cannot use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
