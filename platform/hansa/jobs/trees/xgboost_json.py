"""The answer as a model file of XGBoost: the JSON schema of its "Introduction to Model IO"; 1.7, 2.1 and 3.2 read it.

XGBoost compares 32-bit numbers, so a row whose number lies within 2^-24 of a threshold, relatively, may go the other
way there. Categories are numeric features called "column=category", 1 or 0.
"""

import json

from hansa.jobs.trees import loss
from hansa.jobs.trees.model import FittedTree, GradientBoostingAnswer
from hansa.jobs.trees.tree import LEAF

_NO_PARENT = 2**31 - 1
_OBJECTIVES = {"binomial": "binary:logistic", "gaussian": "reg:squarederror"}


def render(answer: GradientBoostingAnswer) -> str:
    """What `xgboost.Booster.load_model` reads."""
    count = len(answer.trees)
    start = answer.start
    if answer.family == "binomial":  # XGBoost keeps the start of a logistic model as a probability
        start = float(loss.probability(start))  # type: ignore[arg-type]
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(count)},
        "iteration_indptr": list(range(count + 1)),
        "tree_info": [0] * count,
        "trees": [_tree(tree, place, len(answer.features)) for place, tree in enumerate(answer.trees)],
    }
    learner = {
        "attributes": {},
        "feature_names": list(answer.features),
        "feature_types": ["float"] * len(answer.features),
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {
            # at most nine digits: readers before 3.0 take no more
            "base_score": f"{start:.8E}",
            "boost_from_average": "0",
            "num_class": "0",
            "num_feature": str(len(answer.features)),
            "num_target": "1",
        },
        "objective": {"name": _OBJECTIVES[answer.family], "reg_loss_param": {"scale_pos_weight": "1"}},
    }
    return json.dumps({"learner": learner, "version": [2, 0, 0]})


def _tree(tree: FittedTree, place: int, features: int) -> dict[str, object]:
    nodes = len(tree.feature)
    lefts, parents, splits = [-1] * nodes, [_NO_PARENT] * nodes, 0
    for node, feature in enumerate(tree.feature):
        if feature != LEAF:
            lefts[node] = 1 + 2 * splits
            parents[lefts[node]] = parents[lefts[node] + 1] = node
            splits += 1
    return {
        "base_weights": list(tree.value),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [int(left) for left in tree.default_left],
        "id": place,
        "left_children": lefts,
        "loss_changes": list(tree.gain),
        "parents": parents,
        "right_children": [left + 1 if left >= 0 else -1 for left in lefts],
        "split_conditions": [
            value if feature == LEAF else threshold
            for feature, value, threshold in zip(tree.feature, tree.value, tree.threshold, strict=True)
        ],
        "split_indices": [max(feature, 0) for feature in tree.feature],
        "split_type": [0] * nodes,
        "sum_hessian": list(tree.cover),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(features),
            "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }
