"""One function per figure: data in, matplotlib Figure out. `style` holds the palette and the type.

Nothing is imported before a figure is drawn: matplotlib, seaborn and scipy take seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
