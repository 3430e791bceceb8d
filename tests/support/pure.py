"""Imported before anything of the product: lets the tests' own process run the data path as it stands in its files.

Tests look inside objects and put others in their place; compiled classes allow neither. The programs that tests start
run what users run, and with OUTRIDER_TEST_COMPILED so do the tests that can.
"""

import os

os.environ["OUTRIDER_PURE"] = "" if os.environ.get("OUTRIDER_TEST_COMPILED") else "1"
import outrider  # noqa: F401

del os.environ["OUTRIDER_PURE"]
