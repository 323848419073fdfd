"""Write the index of model types and the data of transformers' classes: `python -m archcalc.hf`, after adding a row."""

import json
import sys
from importlib.util import find_spec

from archcalc.hf import adapter_modules, composites, extract, upstream
from archcalc.hf.extract import all_model_types, class_data, to_json_lines
from archcalc.hf.registry import INDEX, model_types, scan

text = json.dumps(scan(), indent=1) + "\n"
with open(INDEX, "w", encoding="utf-8") as file:
    file.write(text)
if find_spec("transformers") and "--index" not in sys.argv:
    with open(upstream.FILE, "w", encoding="utf-8") as file:
        file.write(to_json_lines(class_data(model_types())))
    with open(upstream.TYPES_FILE, "w", encoding="utf-8") as file:
        file.write(all_model_types())
    with open(composites.FILE, "w", encoding="utf-8") as file:
        file.write(extract.composites())
    with open(composites.TWINS_FILE, "w", encoding="utf-8") as file:
        file.write(extract.twins())
    if find_spec("peft"):
        with open(adapter_modules.FILE, "w", encoding="utf-8") as file:
            file.write(extract.adapter_targets())
