"""What the paper, its published code and its reviews state, as far as it bears on tables; nothing here was measured."""

STATED = (
    (
        "accuracy",
        "arXiv:2405.14033, first version: higher clean and robust accuracy than sharpness-aware training (ReLU head); "
        "second version: robust accuracy only, both heads. No table of figures could be found.",
        "clean and robust accuracy of every method, below",
    ),
    (
        "attacks",
        "FGSM alone; the reviews (OpenReview hrLKzCETcf) mention about 40 % at linf 8/255 on CIFAR-10 and ask for PGD, "
        "AutoAttack and l2",
        "exact l2; linf between certificates and FGSM, PGD, APGD and searches without slopes",
    ),
    ("activation", "(0.09, 0.5, 0.47)", "the same in every polynomial network"),
    (
        "beta and radius",
        "the published code picks the best epoch by FGSM at 1/255; the reviews ask how beta and radius are chosen",
        "on inner folds of training rows, by certified accuracy at the radius in question",
    ),
    (
        "baselines",
        "the reviews ask for adversarial training",
        "adversarial training, robust linear machine, robust tree, kernels, forests, boosting",
    ),
    ("clean accuracy, run times", "the reviews ask for both", "below, for every method"),
    ("gates of the ReLU network", "fixed vectors decide them at test time, too; the reviews ask how many",
     "an ordinary ReLU network at test time; 10 or 30 gates in training"),
)  # fmt: skip
"""What it is about, what is stated, and what the study does."""
