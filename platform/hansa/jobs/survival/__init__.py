"""What `kaplan_meier.py` and `cox.py` are made of.

grid.py          times in intervals, who is at risk in which, and the parameters that say so
curve.py         Kaplan and Meier's estimate from counts, its intervals, median and restricted mean
logrank.py       the log-rank test from counts
grouping.py      which steps of a curve may be shown
passes.py        the passes before Cox regression iterates
risk_sets.py     a site's sums over risk sets
likelihood.py    the partial likelihood from sums over risk sets
iterating.py     Newton's iterations, and the answer they end with
cox_answer.py    what a Cox regression gives and shows
"""
