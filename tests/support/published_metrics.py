"""Published metrics, literal and slow: the formula or the authors' algorithm, one class at a time.

Each takes rows [N, D] (or probabilities [N, K]) in float64 and labels 0..C-1, all labeled.
"""

import numpy as np
from scipy.linalg import eigh
from scipy.stats import multivariate_normal, spearmanr
from sklearn.covariance import LedoitWolf, shrunk_covariance
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.extmath import svd_flip

from zoo.features.linear_probe import STRENGTHS, assign_folds


def parc(rows, labels):
    # the authors' code takes a random estimate of these; this is the fastest exact solver
    pca = PCA(n_components=32, svd_solver="covariance_eigh")
    projected = pca.fit_transform(rows)
    # signs are free in PCA but matter here: those of `zoo.features.linear_probe.decompose`
    projected, _ = svd_flip(projected, pca.components_, u_based_decision=True)
    distances = 1 - np.corrcoef(StandardScaler().fit_transform(projected))
    upper = np.triu_indices(len(rows), k=1)
    return spearmanr(distances[upper], (labels[:, None] != labels)[upper])[0]


def knn(rows, labels):
    found = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(rows, labels)
    nearest = found.kneighbors(return_distance=False)[:, 0]
    return np.mean(labels[nearest] == labels)


def linear_probe(rows, labels):
    """Ridge regressions refitted without each fold."""
    rows = StandardScaler().fit_transform(rows)
    targets = np.eye(labels.max() + 1)[labels]
    unit, errors = np.square(rows).sum() / len(rows), {}
    for strength in STRENGTHS:
        scores = np.zeros_like(targets)
        for fold in assign_folds(labels):
            seen = np.setdiff1d(np.arange(len(rows)), fold)
            slow = Ridge(alpha=strength * unit).fit(rows[seen], targets[seen])
            scores[fold] = slow.predict(rows[fold])
        errors[np.square(scores - targets).mean()] = np.mean(scores.argmax(axis=1) == labels)
    return errors[min(errors)]


def logme(rows, labels, updates=11, tolerance=0.01, margin=1e-5):
    """Bayesian regression per class, its precisions updated as the authors' code does."""
    count, width = rows.shape
    left, values, right = np.linalg.svd(rows.T @ rows)
    evidences = []
    for label in np.unique(labels):
        target = (labels == label).astype(float)
        projected = right @ (rows.T @ target)
        alpha = beta = ratio = 1.0
        length = error = 0.0
        for _ in range(updates):
            gamma = np.sum(values / (values + ratio))
            mean = left @ (projected * beta / (alpha + beta * values))
            length, error = mean @ mean, np.sum((target - rows @ mean) ** 2)
            alpha = gamma / (length + margin)
            beta = (count - gamma) / (error + margin)
            if abs(alpha / beta - ratio) / ratio < tolerance:
                break
            ratio = alpha / beta
        evidences.append(
            width / 2 * np.log(alpha)
            + count / 2 * np.log(beta)
            - np.sum(np.log(alpha + beta * values)) / 2
            - beta / 2 * (error + margin)
            - alpha / 2 * (length + margin)
            - count / 2 * np.log(2 * np.pi)
        )
    return np.mean(evidences) / count


def hscore(rows, labels):
    """With scikit-learn's Ledoit-Wolf and a pseudo-inverse."""
    rows = rows - rows.mean(axis=0)
    shrunk = LedoitWolf().fit(rows)
    means = np.zeros_like(rows)
    for label in np.unique(labels):
        means[labels == label] = rows[labels == label].mean(axis=0)
    inverse = np.linalg.pinv(np.atleast_2d(shrunk.covariance_), rcond=1e-15)
    between = (1 - shrunk.shrinkage_) * np.atleast_2d(np.cov(means, rowvar=False))
    return np.trace(inverse @ between)


def nce(named, labels):
    """Minus H(Y | Z), entry by entry of the joint distribution."""
    total = 0.0
    for source in np.unique(named):
        for label in np.unique(labels):
            joint = np.mean((named == source) & (labels == label))
            if joint > 0:
                total += joint * np.log(joint / np.mean(named == source))
    return total


def leep(shares, labels):
    """Source classes without any probability are skipped."""
    joint = np.zeros((labels.max() + 1, shares.shape[1]))
    for share, label in zip(shares, labels, strict=True):
        joint[label] += share / len(labels)
    logs = []
    for share, label in zip(shares, labels, strict=True):
        expected = 0.0
        for source in range(shares.shape[1]):
            if joint[:, source].sum() > 0:
                expected += joint[label, source] / joint[:, source].sum() * share[source]
        logs.append(np.log(expected))
    return np.mean(logs)


def gbc(rows, labels, components=64):
    """Spherical Gaussians, the floor of 1e-4 under each variance, all ordered pairs."""
    rows = PCA(min(components, len(rows) - 1, rows.shape[1]), svd_solver="full").fit_transform(rows)
    width, total = rows.shape[1], 0.0
    for one in np.unique(labels):
        for other in np.unique(labels):
            if one == other:
                continue
            first, second = rows[labels == one], rows[labels == other]
            covariances = [
                np.eye(width) * np.maximum(part.var(axis=0), 1e-4).mean()
                for part in (first, second)
            ]
            shared = sum(covariances) / 2
            apart = first.mean(axis=0) - second.mean(axis=0)
            logs = [np.linalg.slogdet(each)[1] for each in (shared, *covariances)]
            distance = apart @ np.linalg.inv(shared) @ apart / 8
            total += np.exp(-distance - (logs[0] - logs[1] / 2 - logs[2] / 2) / 2)
    return -total


def coding_rate(rows, distortion=1e-4):
    gram = np.eye(rows.shape[1]) + rows.T @ rows / (len(rows) * distortion)
    return np.linalg.slogdet(gram)[1] / 2


def transrate(rows, labels):
    rows = rows - rows.mean(axis=0)
    within = [coding_rate(rows[labels == label]) for label in np.unique(labels)]
    return coding_rate(rows) - np.mean(within)


def ncti_terms(rows, labels):
    """Simplex, nearest center and variability, from more images than components and classes."""
    pca = PCA(min(64, len(rows) - 1, rows.shape[1]), svd_solver="full")
    rows = pca.fit_transform(rows)
    shrinkage = np.exp(-pca.explained_variance_[:32].sum())
    low, chances = discriminate(rows, labels, shrinkage)
    within = sum(np.linalg.norm(chances[labels == label], ord="nuc") for label in set(labels))
    nearest = chances[np.arange(len(rows)), labels].mean()
    return np.linalg.norm(low - low.mean(axis=0), ord="nuc"), nearest, np.log(within)


def discriminate(rows, labels, shrinkage):
    """Linear discriminants as a generalized eigenproblem, and densities of Gaussians."""
    classes = np.unique(labels)
    priors = np.array([np.mean(labels == label) for label in classes])
    means = np.array([rows[labels == label].mean(axis=0) for label in classes])
    within = sum(
        prior * np.cov(rows[labels == label].T, bias=True)
        for prior, label in zip(priors, classes, strict=True)
    )
    total = np.cov(rows.T, bias=True)
    if shrinkage > 1e-10:
        within, total = (shrunk_covariance(each, shrinkage) for each in (within, total))
        between = total - within
    else:
        between = total - within
        within = within * len(rows) / (len(rows) - len(classes))
    axes = eigh(between, within)[1][:, ::-1][:, : len(classes) - 1]
    densities = [
        prior * multivariate_normal(mean, within).pdf(rows)
        for prior, mean in zip(priors, means, strict=True)
    ]
    return rows @ axes, np.transpose(densities) / np.sum(densities, axis=0)[:, None]


def hsic(one, other):
    """Of two kernel matrices, with centring matrices; its constant factor is left out."""
    centring = np.eye(len(one)) - 1 / len(one)
    return np.trace(centring @ one @ centring @ other)


def align(one, other):
    return hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))


def cka(rows, labels):
    targets = np.eye(labels.max() + 1)[labels]
    return align(rows @ rows.T, targets @ targets.T)


def cka_rbf(rows, labels):
    distances = np.square(rows[:, None] - rows).sum(axis=2)
    median = np.median(distances[np.triu_indices(len(rows), k=1)])
    targets = np.eye(labels.max() + 1)[labels]
    return align(np.exp(-distances / (2 * median)), targets @ targets.T)


def rsa(rows, reference):
    upper = np.triu_indices(len(rows), k=1)
    return correlate_ranks((1 - np.corrcoef(rows))[upper], (1 - np.corrcoef(reference))[upper])


def correlate_ranks(one, other):
    return spearmanr(one, other)[0]
