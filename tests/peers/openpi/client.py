"""What openpi's own client gets from the server of our tests. Runs in the environment of openpi-client.

Arguments: the URL of the server. Prints the actions as JSON.
"""

import json
import sys

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

client = WebsocketClientPolicy(sys.argv[1])
actions = client.infer({"state": np.arange(5, dtype=np.float32), "prompt": "fold"})["actions"]
print(json.dumps([client.get_server_metadata(), str(actions.dtype), actions.tolist()]))
