"""Draw the dashboard, like app.py of a checkout."""

from archcalc.dashboard.navigation import main

main()
