from . import figures as figures
from . import interpolation as interpolation
from . import inversion as inversion
from . import judges as judges
from . import metrics as metrics
from . import models as models
from . import observers as observers
from . import paper as paper
from . import report as report
from . import studies as studies
from . import theory as theory
from .ddim import invert as invert
from .ddim import sample as sample
from .denoiser import Denoiser as Denoiser
from .inversion import list_methods as list_methods
from .inversion import method as method
from .models import list_models as list_models
from .models import load_model as load_model
from .pictures import encode_pictures as encode_pictures
from .report import Run as Run
from .report import start as start
from .report.exercises import exercise as exercise
from .schedule import Schedule as Schedule
from .studies import study as study
from .studies.diagnosis import diagnose as diagnose
from .trajectories import Trajectories as Trajectories

__version__: str
