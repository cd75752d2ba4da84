"""Run `python -m hp_service` as the `hp-service` command."""

from __future__ import annotations

import sys

from hp_service.cli import main

sys.exit(main())
