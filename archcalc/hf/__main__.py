"""Write the index of model types anew: `python -m archcalc.hf`, after adding a row."""

import json

from archcalc.hf.registry import INDEX, scan

text = json.dumps(scan(), indent=1) + "\n"
with open(INDEX, "w", encoding="utf-8") as file:
    file.write(text)
