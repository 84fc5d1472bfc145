"""What `kaplan_meier.py` and `cox.py` are made of.

grid.py          times in intervals, who is at risk in which, and the parameters that say so
curve.py         Kaplan and Meier's estimate from counts, its intervals, median and restricted mean
logrank.py       the log-rank test from counts
grouping.py      which steps of a curve may be shown
passes.py        the passes before Cox regression iterates
risk_sets.py     a site's sums over risk sets
likelihood.py    the partial likelihood from sums over risk sets
iterating.py     Newton's iterations
concluding.py    what the total of an iteration leads to: the next, or the answer and its tests
km_answer.py     what survival curves give and show
cox_answer.py    what a Cox regression gives and shows
"""
