"""Runs a module with the wall clock set wrong: `shifted.py SECONDS python -m MODULE`."""

import runpy
import sys
import time

SHIFT_S = int(sys.argv[1])
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + SHIFT_S
time.time_ns = lambda: _time_ns() + SHIFT_S * 1_000_000_000
MODULE = sys.argv[-1]
sys.argv = [MODULE]
sys.path.insert(0, "")
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
