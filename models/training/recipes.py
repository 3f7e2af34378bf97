"""What the models of the zoo are trained by, each from the number of train rows."""

from dataclasses import replace

from genremill.models.recipe import Recipe, Schedule, Size, Watch

MANY_ROWS, FEW_ROWS = 50_000, 5_000
"""Where `periodic_mlp` changes its recipe: fewer rows want smoother embeddings and smaller batches."""


def fcnn(rows: int) -> Recipe:
    """Batches and rate as Keras has them by default; the rate falls by a tenth after each epoch."""
    return Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)


def linear(rows: int) -> Recipe:
    """Few epochs, since its loss is convex."""
    return Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)


def perceptron(rows: int) -> Recipe:
    """Of vectors of audio, until the validation loss falls no more."""
    return Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=15)


def periodic_mlp(rows: int) -> Recipe:
    """Longer, and by smaller batches, from fewer rows."""
    epochs, batch = (12, 512) if rows >= MANY_ROWS else (15, 256) if rows >= FEW_ROWS else (30, 64)
    return Recipe(
        epochs=epochs,
        batch=batch,
        learning_rate=4e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.01,
        label_smoothing=0.05,
    )


def periodic_mlp_size(rows: int) -> Size:
    """Smoother from fewer rows."""
    deviation = 1.0 if rows >= MANY_ROWS else 0.3 if rows >= FEW_ROWS else 0.1
    return Size(width=384, depth=2, members=3, dropout=0.1, frequency_deviation=deviation)


def fusion(rows: int) -> Recipe:
    """`periodic_mlp`'s, but shorter from many rows."""
    return replace(periodic_mlp(rows), epochs=8) if rows >= MANY_ROWS else periodic_mlp(rows)


def segments(rows: int) -> Recipe:
    """Report D's: it stops when validation accuracy has not risen by 1 % in 8 epochs."""
    return Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=8, watch=Watch.ACCURACY, min_delta=0.01)


def spectrogram(rows: int) -> Recipe:
    """Report C's."""
    return Recipe(
        epochs=100,
        batch=128,
        learning_rate=1e-3,
        schedule=Schedule.STEP,
        gamma=0.1,
        step_epochs=10,
        patience=5,
        min_delta=1e-3,
    )


def image(rows: int) -> Recipe:
    """Until the validation loss falls no more."""
    return Recipe(epochs=100, batch=64, learning_rate=1e-3, patience=10)


def sequence(rows: int) -> Recipe:
    """Of windows of audio."""
    return Recipe(
        epochs=30,
        batch=64,
        learning_rate=2e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.05,
        label_smoothing=0.1,
    )


def head(rows: int) -> Recipe:
    """Chosen on GTZAN's validation clips, filtered, all but the epochs: 40 had .80 there from 443 clips."""
    return Recipe(
        epochs=60,
        batch=32,
        learning_rate=2e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.1,
        label_smoothing=0.1,
    )


def once(rows: int) -> Recipe:
    """One epoch, of a model that takes no steps."""
    return Recipe(epochs=1, batch=4096, learning_rate=1.0)
