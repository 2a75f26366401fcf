"""python -m jaxsr.cli"""

import sys

from jaxsr import cli

sys.exit(cli.main())
