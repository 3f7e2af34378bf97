"""The training loop in one process: recipes, resuming, early stopping, and errors."""

import dataclasses
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from genremill.infra.errors import ExitCode, StorageError, UsageError
from genremill.infra.log import start_log
from genremill.models import zoo
from genremill.models.artifact import write_weights
from genremill.models.encoders.table import TableEncoder
from genremill.models.features import FeatureSpec
from genremill.models.model_card import Epoch, ModelCard
from genremill.models.recipe import Recipe, Schedule, Watch
from genremill.models.training import checkpoints, loop
from genremill.models.training.checkpoints import Checkpoint, Progress
from genremill.models.training.manifest import manifest_of, write_manifest
from genremill.models.training.plan import Plan
from tests.pure import ranks
from tests.pure.ranks import Kill

FEATURES = (FeatureSpec("a", False), FeatureSpec("b", False), FeatureSpec("c", True))
RECIPE = Recipe(epochs=4, batch=64, learning_rate=5e-3, schedule=Schedule.ONE_CYCLE, weight_decay=0.01)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment that torchrun gives a rank."""
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "0")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def _shards(folder: Path, rows: int, seed: int, label: Any = None) -> str:
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=(rows, 2)), rng.integers(3, size=rows)]).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64) + 2 * (x[:, 1] > 0) if label is None else label(rng, rows)
    folder.mkdir(parents=True)
    table = pa.table({"table": pa.array(list(x), pa.list_(pa.float32())), "label": pa.array(y, pa.int64())})
    pq.write_table(table, folder / "part-0.parquet", row_group_size=-(-rows // 4))
    uri = f"file://{folder}"
    write_manifest(uri, manifest_of(uri, f"{rows}-{seed}"))
    return uri


def _plan(folder: Path, model: str = "periodic_mlp", recipe: Recipe = RECIPE, label: Any = None) -> Plan:
    train = _shards(folder / "train", 500, 1, label)
    validation = _shards(folder / "validation", 200, 2, label)
    x = pq.read_table(folder / "train")["table"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    entry = zoo.entry(model)
    encoder = TableEncoder.fit(x, FEATURES, entry.scaling)
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    card = ModelCard(
        model=model,
        classes=("a", "b", "c", "d"),
        features=FEATURES,
        size=entry.size(500),
        categories=3,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
    )
    return Plan(
        card=card,
        recipe=recipe,
        seed=0,
        workers=1,
        threads=1,
        train=train,
        validation=validation,
        initial=f"file://{folder}",
        initial_sha256=write_weights(f"file://{folder}/encoder.safetensors", tensors),
        checkpoints=f"file://{folder}/checkpoints",
        run_id="test",
    )


def _final(plan: Plan) -> dict[str, torch.Tensor]:
    found = checkpoints.newest(plan.checkpoints)
    assert found is not None
    return found.tensors


def _accuracy(epoch: Epoch) -> float:
    assert epoch.validation_accuracy is not None
    return epoch.validation_accuracy


def _equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_training_learns_a_simple_rule(tmp_path: Path) -> None:
    history = loop.train_rank(_plan(tmp_path))
    assert [one.epoch for one in history] == [1, 2, 3, 4]
    assert _accuracy(history[-1]) > 0.9
    assert all(one.rows == 500 for one in history)


def test_train_cross_entropy_excludes_label_smoothing_like_the_validation_loss(tmp_path: Path) -> None:
    last = loop.train_rank(_plan(tmp_path, recipe=dataclasses.replace(RECIPE, label_smoothing=0.3)))[-1]
    assert last.train_cross_entropy is not None
    assert last.train_loss > last.train_cross_entropy + 0.1
    assert last.train_cross_entropy == pytest.approx(last.validation_loss, abs=0.15)


def test_accuracy_stays_at_chance_with_random_labels(tmp_path: Path) -> None:
    history = loop.train_rank(_plan(tmp_path, label=lambda rng, rows: rng.integers(4, size=rows)))
    assert abs(_accuracy(history[-1]) - 0.25) < 0.1


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = _plan(tmp_path / "whole")
    loop.train_rank(whole)
    cut = _plan(tmp_path / "cut")

    class Killed(Exception):
        pass

    original = checkpoints.save

    def save_then_die(folder: str, checkpoint: Checkpoint) -> None:
        original(folder, checkpoint)
        if checkpoint.epoch == 2:
            raise Killed

    checkpoints.save = save_then_die
    try:
        with pytest.raises(Killed):
            loop.train_rank(cut)
    finally:
        checkpoints.save = original
    history = loop.train_rank(cut)
    assert len(history) == 4
    assert _equal(_final(whole), _final(cut))


def test_a_training_whose_ranks_were_killed_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, cut = (dataclasses.replace(_plan(tmp_path / name), workers=2) for name in ("whole", "cut"))
    assert ranks.exit_codes(whole) == [0, 0]
    for epoch, killed in ((3, 1), (4, 0)):
        codes = ranks.exit_codes(cut, Kill(killed, step=(epoch - 1) * 8 + 3))  # an epoch has eight
        assert codes[killed] == -9
        assert codes[1 - killed] not in (0, None), "the other rank hangs, or went on alone"
        found = checkpoints.newest(cut.checkpoints)
        assert found is not None
        assert found.epoch == epoch - 1
    assert ranks.exit_codes(cut) == [0, 0]
    assert _equal(_final(whole), _final(cut))


def test_a_truncated_checkpoint_is_replaced_by_the_previous_one(tmp_path: Path) -> None:
    plan = _plan(tmp_path)
    loop.train_rank(plan)
    end = _final(plan)
    newest = tmp_path / "checkpoints" / "epoch-00004" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    found = checkpoints.newest(plan.checkpoints)
    assert found is not None
    assert found.epoch == 3
    loop.train_rank(plan)
    assert _equal(end, _final(plan))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _emptied(file: Path) -> None:
    file.write_bytes(b"")


def _of_another_kind(file: Path) -> None:
    file.write_bytes(b"[1]")


@pytest.mark.parametrize("part", ["model.safetensors", "model.json"])
@pytest.mark.parametrize("damage", [_cut, _emptied, _of_another_kind, Path.unlink])
def test_damaged_checkpoints_are_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], part: str
) -> None:
    start_log("test", "train")
    for epoch in (1, 2):
        tensors = {"weight": torch.full((9,), float(epoch))}
        checkpoints.save(f"file://{tmp_path}", Checkpoint(epoch, tensors, Progress((), 1, None)))
    for epoch, before in ((2, 1), (1, 0)):
        damage(tmp_path / f"epoch-0000{epoch}" / part)
        found = checkpoints.newest(f"file://{tmp_path}")
        assert (found.epoch if found else 0) == before
        assert f"epoch-0000{epoch} is damaged, the checkpoint before it is used" in capsys.readouterr().err


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    one = _plan(tmp_path)
    loop.train_rank(one)
    first = _final(one)
    shutil.rmtree(tmp_path / "checkpoints")
    loop.train_rank(dataclasses.replace(one, seed=1))
    assert not _equal(first, _final(one))


def test_training_stops_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    noise = dataclasses.replace(
        RECIPE, epochs=40, patience=2, schedule=Schedule.CONSTANT, learning_rate=0.05, weight_decay=0.0
    )
    plan = _plan(tmp_path, recipe=noise, label=lambda rng, rows: rng.integers(4, size=rows))
    history = loop.train_rank(plan)
    best = min(range(len(history)), key=lambda at: history[at].validation_loss or 0.0)
    assert len(history) == best + 3
    found = checkpoints.newest(plan.checkpoints)
    assert found is not None
    assert found.progress.best_epoch == best + 1


def test_a_metric_must_change_by_min_delta_to_count_as_better(tmp_path: Path) -> None:
    """Validation accuracy rises fast and then slowly: the last epoch with a rise of `min_delta` is kept."""
    creeping = dataclasses.replace(
        RECIPE, epochs=30, patience=3, schedule=Schedule.CONSTANT, watch=Watch.ACCURACY, min_delta=0.2
    )
    plan = _plan(tmp_path, recipe=creeping)
    accuracy = [_accuracy(one) for one in loop.train_rank(plan)]
    best = checkpoints.newest(plan.checkpoints)
    assert best is not None
    kept = best.progress.best_epoch - 1
    assert len(accuracy) == kept + 1 + 3
    assert max(accuracy[kept + 1 :]) <= accuracy[kept] + 0.2
    assert max(accuracy) > accuracy[kept], "a smaller difference would have counted"


@pytest.mark.parametrize("workers", [1, 2])
def test_every_rank_of_knn_keeps_all_rows(tmp_path: Path, workers: int) -> None:
    plan = dataclasses.replace(_plan(tmp_path, "knn", Recipe(1, 64, 1.0)), workers=workers)
    assert ranks.exit_codes(plan) == [0] * workers
    found = checkpoints.newest(plan.checkpoints)
    assert found is not None
    (epoch,) = found.progress.history
    assert epoch.rows == 500
    assert _accuracy(epoch) > 0.9
    labels = pq.read_table(tmp_path / "train")["label"].to_pylist()
    assert found.tensors["best.label_R"].tolist() == labels


def test_a_loss_that_is_not_finite_stops_training_and_the_error_names_the_step(tmp_path: Path) -> None:
    plan = _plan(tmp_path, model="linear", recipe=dataclasses.replace(RECIPE, learning_rate=1e38))
    with pytest.raises(UsageError, match=r"the loss is (nan|inf) in epoch \d, step \d+ of 8, on rank 0"):
        loop.train_rank(plan)
    assert _failed(plan)["exit_code"] == ExitCode.USAGE


def _failed(plan: Plan) -> dict[str, Any]:
    """The error that a rank has recorded for the driver."""
    found: dict[str, Any] = json.loads(
        Path(plan.checkpoints.removeprefix("file://"), "failed.json").read_text()
    )
    return found


def test_a_training_can_be_retried_after_its_port_was_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(StorageError, match=f"cannot connect at .*:{port}: .*address already in use"):
            loop.train_rank(plan)
    assert _failed(plan)["exit_code"] == ExitCode.RETRY
    monkeypatch.setenv("MASTER_PORT", "0")
    assert len(loop.train_rank(plan)) == RECIPE.epochs


def test_a_requested_gpu_that_is_missing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = _plan(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # as if Spark had assigned two GPUs
    with pytest.raises(UsageError, match=r"GPUs were requested \(CUDA_VISIBLE_DEVICES=0,1\), .* finds 0"):
        loop.train_rank(plan)
    assert _failed(plan)["exit_code"] == ExitCode.USAGE
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # as if Spark had assigned no GPU
    assert len(loop.train_rank(plan)) == RECIPE.epochs


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule.CONSTANT, [1, 1, 1, 1]),
        (Schedule.EXPONENTIAL, [1, 1, 0.5, 0.5]),
        (Schedule.STEP, [1, 1, 0.5, 0.5]),
        (Schedule.ONE_CYCLE, [0.001, 0.5, 1, 0.5]),
    ],
)
def test_each_schedule_gives_the_expected_rates(schedule: Schedule, expected: list[float]) -> None:
    recipe = Recipe(2, 8, 1.0, schedule, gamma=0.5, step_epochs=1, warmup=0.5)
    assert [recipe.rate(step, 2) for step in range(4)] == pytest.approx(expected)
