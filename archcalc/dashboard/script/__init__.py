"""The script that `archcalc app` serves.

It is in a folder of its own because streamlit would treat a folder `pages` beside it as its own pages.
"""
