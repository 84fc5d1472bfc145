"""What `glm.py` is made of.

formula.py   Wilkinson's formulas, read without evaluating anything in them
design.py    the design matrix that a formula and its categories mean
scaling.py   the passes before the iterations
fitting.py   the iterations, and the answer
family.py    what the three families total, and their deviances
alone.py     a fit on one site's own rows, for a meta-analysis
combined.py  the answer of a meta-analysis
scoring.py   Newton's step, its standard errors, and which column depends on which
"""
