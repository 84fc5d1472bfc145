"""What an answer may reveal, what noise costs and how it is drawn. No input or output; chance is an argument.

disclosure.py  which figures are left out, coarsened or refused; every rule in one place
accounting.py  privacy loss in whole numbers: ε, δ and the ρ of zCDP
noise.py       how much noise a step needs, and each site's share of it
sampling.py    discrete Gaussian numbers, exactly
"""
