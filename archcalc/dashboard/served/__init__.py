"""The script that `archcalc app` serves.

It lies apart: streamlit takes a folder "pages" beside a script for pages of its own, and would open them by links.
"""
