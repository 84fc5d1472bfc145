"""What `gradient_boosting.py` is made of.

features.py       which features the columns mean: numbers as they are, categories one by one
cuts.py           where a feature may be cut: edges of bins that hold about equally many rows, found by counting
sketching.py      the steps that find them, before the trees
loss.py           the two families: gradients, losses, where boosting starts, within which bounds
tree.py           a tree as arrays, and the way of a row through it
splitting.py      the best split of a node, from totals alone
boosting.py       one step a level: what sites add up, and what grows from it
model.py          the answer, and what it predicts
xgboost_json.py   the answer as a model file of XGBoost
"""
