"""Write the index of model types anew: `python -m archcalc.hf`, after adding a row."""

import json

from archcalc.hf.registry import INDEX, scan

INDEX.write_text(json.dumps(scan(), indent=1) + "\n", "utf-8")
