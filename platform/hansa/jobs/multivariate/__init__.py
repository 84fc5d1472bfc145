"""What `pca.py` and `k_means.py` are made of.

standardising.py   complete rows, and the passes that find a centre and a scale for every column
spectrum.py        principal components of a covariance matrix, with signs that two machines agree on
lloyd.py           starting centres without a row, and the iterations of k-means
clusters.py        the answer of k-means
"""
