"""The parts of the page Inside: a view for each tool of `archcalc.inside`."""
