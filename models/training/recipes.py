"""Training settings of the models of the zoo, each as a function of the number of train rows."""

from dataclasses import replace

from genremill.models.recipe import Recipe, Schedule, Size, Watch

MANY_ROWS, FEW_ROWS = 50_000, 5_000
"""Where `periodic_mlp` changes its recipe: fewer rows need smoother embeddings and smaller batches."""


def fcnn(rows: int) -> Recipe:
    """Batch size and learning rate are the defaults of Keras; the rate falls by 10 % after each epoch."""
    return Recipe(epochs=20, batch=32, learning_rate=1e-3, schedule=Schedule.EXPONENTIAL, gamma=0.9)


def linear(rows: int) -> Recipe:
    """Few epochs, because the loss is convex."""
    return Recipe(epochs=12, batch=256, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE)


def perceptron(rows: int) -> Recipe:
    """For vectors of audio: until the validation loss stops falling."""
    return Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=15)


def periodic_mlp(rows: int) -> Recipe:
    """More epochs and smaller batches for fewer rows."""
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
    """Smoother embeddings for fewer rows."""
    deviation = 1.0 if rows >= MANY_ROWS else 0.3 if rows >= FEW_ROWS else 0.1
    return Size(width=384, depth=2, members=3, dropout=0.1, frequency_deviation=deviation)


def fusion(rows: int) -> Recipe:
    """The recipe of `periodic_mlp`, with fewer epochs for many rows."""
    return replace(periodic_mlp(rows), epochs=8) if rows >= MANY_ROWS else periodic_mlp(rows)


def segments(rows: int) -> Recipe:
    """The recipe of report D: training stops if validation accuracy has not risen by 1 % in 8 epochs."""
    return Recipe(epochs=200, batch=64, learning_rate=1e-3, patience=8, watch=Watch.ACCURACY, min_delta=0.01)


def spectrogram(rows: int) -> Recipe:
    """The recipe of report C."""
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
    """Until the validation loss stops falling."""
    return Recipe(epochs=100, batch=64, learning_rate=1e-3, patience=10)


def sequence(rows: int) -> Recipe:
    """For windows of audio."""
    return Recipe(
        epochs=30,
        batch=64,
        learning_rate=2e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.05,
        label_smoothing=0.1,
    )


def head(rows: int) -> Recipe:
    """Chosen on the filtered validation clips of GTZAN, except for the epochs: 40 gave .80 with 443 clips."""
    return Recipe(
        epochs=60,
        batch=32,
        learning_rate=2e-3,
        schedule=Schedule.ONE_CYCLE,
        weight_decay=0.1,
        label_smoothing=0.1,
    )


def once(rows: int) -> Recipe:
    """One epoch, for a model without gradient steps."""
    return Recipe(epochs=1, batch=4096, learning_rate=1.0)
