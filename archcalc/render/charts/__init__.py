"""Figures as Vega-Lite charts: plain data, one file each; `file` writes them, `frame` is what they share."""
