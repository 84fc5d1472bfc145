"""The kinds under noise: each is made from a kind by `Job.under_noise`, and none is in the catalogue.

noisy.py       what such a job must say, and how a contribution gets its share of the noise
ranges.py      the public ends between which numbers are held
counts.py      histograms and tables
moments.py     summaries
regression.py  what regressions share
linear.py      linear regression
logistic.py    logistic regression
rows.py        the rows of a regression, each within a known bound
"""
