"""LeRobot's own policy server. Runs in its environment. Arguments: a folder for its logs, the port."""

import os
import runpy
import sys

folder, port = sys.argv[1:]
os.chdir(folder)
options = ["--host=127.0.0.1", f"--port={port}", "--fps=50", "--inference_latency=0", "--obs_queue_timeout=1"]
sys.argv = ["policy_server", *options]
runpy.run_module("lerobot.async_inference.policy_server", run_name="__main__", alter_sys=True)
