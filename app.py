"""The dashboard's front door: `streamlit run app.py`, or `archcalc app` of an installed package."""

from archcalc.dashboard.navigation import main

main()
