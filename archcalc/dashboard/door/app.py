"""What streamlit runs: in a folder of its own, for beside a folder `pages` streamlit would serve what is in that."""

from archcalc.dashboard.home import main

main()
