"""Launcher: BasicSR's own command `python basicsr/train.py -opt …` in the root of this repository."""

import os
import sys

try:
    from basicsr_kd.train import main
except ModuleNotFoundError as error:
    sys.exit(f'{error} in {sys.executable}. In the root of this repository, run: pip install -e .')

if __name__ == '__main__':
    main(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
