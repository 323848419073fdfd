"""The same as the checkout's app.py."""

from archcalc.dashboard.home import main

main()
