"""Stands in for the process of the converter: crashes, or hangs, as it is asked to."""

import os
import pickle
import sys
import time

request, _ = pickle.load(sys.stdin.buffer)
if request == "crash":
    os.abort()
time.sleep(60)
