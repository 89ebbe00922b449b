"""Fits the weights of a fixed camera's evidence, and prints them as crates/maskd-fixed/src/evidence.rs has them.

    maskd eval fixed --root FIXED --part first --out OUT --cues PLAIN
    maskd eval fixed --root TWINS --part first --out OUT2 --cues NOISY --sequences CAVIAR1-night,HallAndMonitor-night,...
    fit_evidence.py PLAIN [--also NOISY] [--weight 0.5]

PLAIN and NOISY hold one SEQUENCE.npy for each sequence; twins with noise are made by twins.py. Each sequence has the same
weight, those of NOISY --weight of it. Two logistic regressions are fitted, one with features and one without; the weights with
features are the mean of both. Before, each sequence of PLAIN is left out in turn (with its twins, SEQUENCE-...), and the F1 of
its pixels is told: that is what other cameras may expect of single pixels, before anything is smoothed or followed.

Wants numpy and scikit-learn. The choice of pixels is fixed by a seed.
"""
import argparse, pathlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

COLOURS = 13
MOST = 25_000


def read(folder, weight):
    found = {}
    for path in sorted(pathlib.Path(folder).glob("*.npy")):
        rows = np.load(path)
        rows = rows[np.random.RandomState(0).permutation(len(rows))[:MOST]]
        found[path.stem] = (rows, weight)
    return found


def regression(sequences, columns):
    rows = np.concatenate([rows for rows, _ in sequences])
    weights = np.concatenate([rows[:, 1] / rows[:, 1].sum() * weight for rows, weight in sequences])
    cues = rows[:, 3 : 3 + columns]
    scale = StandardScaler().fit(cues)
    model = LogisticRegression(C=0.01, max_iter=500)
    model.fit(scale.transform(cues), rows[:, 0] > 0.5, sample_weight=weights / weights.mean())
    factors = model.coef_[0] / scale.scale_
    return factors, model.intercept_[0] - (factors * scale.mean_).sum()


def both(sequences):
    """Weights and constant with features, and without."""
    alone, constant_alone = regression(sequences, COLOURS)
    seen = [(rows, weight) for rows, weight in sequences if rows[:, 2].min() > 0]
    if not seen:
        raise SystemExit("no sequence has features: they were run with --without features")
    features, constant = regression(seen, seen[0][0].shape[1] - 3)
    mean = 0.5 * (features + np.pad(alone, (0, len(features) - len(alone))))
    return (mean, 0.5 * (constant + constant_alone)), (alone, constant_alone)


def f1(rows, weights, constant):
    found = rows[:, 3 : 3 + len(weights)] @ weights + constant > 0
    moves, count = rows[:, 0] > 0.5, rows[:, 1]
    return 200 * count[found & moves].sum() / (count[found].sum() + count[moves].sum())


def written(name, weights, constant):
    return f"{name}: [{', '.join(f'{w:.3f}' for w in weights)}], {constant:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plain")
    parser.add_argument("--also")
    parser.add_argument("--weight", type=float, default=0.5)
    args = parser.parse_args()
    plain = read(args.plain, 1.0)
    also = read(args.also, args.weight) if args.also else {}
    if not plain:
        parser.error(f"{args.plain} holds no .npy file")
    if len(plain) > 1:
        print("left out           with features   pixels alone")
        for name, (rows, _) in plain.items():
            others = {**plain, **also}
            fitted = both([v for k, v in others.items() if k != name and not k.startswith(name + "-")])
            print(f"{name:18} {f1(rows, *fitted[0]):13.1f} {f1(rows, *fitted[1]):14.1f}")
    with_features, alone = both([*plain.values(), *also.values()])
    print(written("WITH_FEATURES", *with_features))
    print(written("PIXELS_ALONE", *alone))


if __name__ == "__main__":
    main()
