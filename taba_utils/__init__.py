"""taba: noise, image, and back again. See README.md and notebooks/.

`import taba_utils as taba` imports nothing else yet: each name of `__init__.pyi` is imported at its first use.
"""

import lazy_loader

from taba_utils.cache import sources as _sources  # noqa: F401 - reads the source before any of it is imported

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
