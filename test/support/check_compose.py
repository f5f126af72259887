"""Ends with 0 when a compose file is valid by the Compose specification, its references included.

Called as: check_compose.py FILE
"""

import json
import sys

import yaml
from compose_spec import PyOptions

# Read by PyYAML first, which resolves `<<`.
with open(sys.argv[1], encoding="utf-8") as file:
    plain = json.dumps(yaml.safe_load(file))
PyOptions().from_yaml(plain).validate()
