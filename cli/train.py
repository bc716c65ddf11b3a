"""`embed train`: a catalogue to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from cli.output import json_option, model_folder_option, print_json, say, share
from cli.training_progress import training_progress

if TYPE_CHECKING:
    from embedder.workers import Workers


def _amounts(
    context: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    amounts = {}
    for value in values:
        name, _, amount = value.partition("=")
        try:
            amounts[name.strip()] = float(amount)
        except ValueError:
            raise click.BadParameter(f"expected NAME=AMOUNT, found '{value}'") from None
    return amounts


@click.command(short_help="Learn to tell the items of a catalogue apart.")
@click.argument("catalogue", type=click.Path(path_type=Path))
@model_folder_option
@click.option(
    "--backbone",
    default="compact",
    show_default=True,
    help="'compact' (trained from scratch), or a name of keras.applications, such as MobileNet.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 2, min_open=True),
    help="Width of a MobileNet backbone, such as 0.25.",
)
@click.option(
    "--weights",
    default="none",
    show_default=True,
    metavar="imagenet|none|FILE.h5",
    help="What the backbone starts from.",
)
@click.option(
    "--frozen",
    is_flag=True,
    help="Leave the backbone as its weights have it; train only what follows, in minutes.",
)
@click.option(
    "--size", type=click.IntRange(32, 1024), default=96, show_default=True, help="Side in pixels."
)
@click.option(
    "--training-size",
    type=click.IntRange(min=32),
    help="Side while training, if smaller: 160 for --size 288 takes a third of the time.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), default=40, show_default=True, help="At most."
)
@click.option(
    "--flip/--no-flip",
    default=False,
    show_default=True,
    help="Also learn from mirrored photos: helps where no item is the mirror image of another.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=AMOUNT",
    callback=_amounts,
    help="Vary training photos more or less, for instance rotation=180 for items that lie any way "
    "round; 0 switches off. Names and amounts: docs/learning.md.",
)
@click.option(
    "--backgrounds",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photos to put behind items shown on a plain or transparent background, half of the time.",
)
@click.option(
    "--pooling",
    type=click.Choice(["mean", "gem"]),
    default="mean",
    show_default=True,
    help="How features are pooled over the photo; 'gem' counts what stands out for more and is "
    "often better from ImageNet weights.",
)
@click.option(
    "--loss",
    type=click.Choice(["hard", "semi-hard"]),
    default="hard",
    show_default=True,
    help="Which triplets are learned from: docs/learning.md.",
)
@click.option(
    "--softmax",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    metavar="WEIGHT",
    help="Learn to name the items of the catalogue beside the triplets, with this weight.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="The highest: it rises to it, then falls. 0.003 is often better from ImageNet weights.",
)
@click.option(
    "--tensorboard",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write curves for TensorBoard into DIR (extra [tensorboard]).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Decides everything random.",
)
@click.option(
    "--replace",
    is_flag=True,
    help="Start anew: replace a model that is there. If stopped, the same command goes on.",
)
@json_option
def train(
    catalogue: Path,
    model: Path,
    backbone: str,
    alpha: float | None,
    weights: str,
    frozen: bool,
    size: int,
    training_size: int | None,
    epochs: int,
    flip: bool,
    vary: dict[str, float],
    backgrounds: Path | None,
    pooling: str,
    loss: Literal["hard", "semi-hard"],
    softmax: float,
    learning_rate: float,
    tensorboard: Path | None,
    seed: int,
    replace: bool,
    as_json: bool,
) -> None:
    """Learn to tell the items of CATALOGUE apart; write a model folder.

    CATALOGUE is a folder with one folder of photos an item, or a CSV or Parquet file with
    item_id,path. About a tenth of the photos is held out to measure by: 'right of 10' is the share
    of them matched to the right one of 10 candidates. The best epoch is kept. Stop with Ctrl-C
    whenever you like: the same command goes on after the last finished epoch.

    Several hosts train together where TF_CONFIG names them: docs/howto/workers.md.

    \b
    Examples:
      embed train catalogue
      embed train catalogue --vary rotation=180 --vary cover=0.2
      embed train catalogue --backbone MobileNet --alpha 0.25 --weights FILE.h5
    """
    from embedder import read_catalogue
    from embedder.model_files import Architecture
    from embedder.training_options import Augmentation, Listener, TrainingOptions
    from embedder.workers import workers_from_environment

    options = TrainingOptions(
        architecture=Architecture(backbone, alpha, size, pooling=pooling),
        weights=None if weights == "none" else weights,
        frozen=frozen,
        training_size=training_size,
        epochs=epochs,
        loss=loss,
        softmax=softmax,
        learning_rate=learning_rate,
        seed=seed,
        augmentation=Augmentation(flip=flip, background=0.5 if backgrounds else 0.0).varied(vary),
        backgrounds=None if backgrounds is None else str(backgrounds),
    )
    found = read_catalogue(catalogue)
    workers = workers_from_environment()
    from embedder import training  # TensorFlow: seconds

    log = Listener()
    if tensorboard is not None and (workers is None or not workers.number):
        from embedder.tensorboard_log import TensorBoardLog

        log = TensorBoardLog(tensorboard)
    with training_progress(log) as listener:
        if workers is None:
            info = training.train(found, model, options, listener, replace)
        else:
            done = training.train_with_others(found, model, workers, options, listener, replace)
            if done is None:
                return _say_who_has_it(workers, as_json)
            info = done
    facts = info.training
    say(
        f"{model}: epoch {facts['best_epoch']} of {facts['epochs']}, "
        f"{share(facts['candidate_accuracy'])} right of 10, {share(facts['top1'])} of "
        f"{facts['judged_items'] or facts['items']:,} items"
    )
    say(f"LiteRT agrees (lowest cosine {facts['litert_cosine']:.6f})")
    if as_json:
        print_json({"fingerprint": info.fingerprint, **facts})


def _say_who_has_it(workers: Workers, as_json: bool) -> None:
    say(f"Done; {workers.name(0)} writes the model.")
    if as_json:
        print_json({"worker": workers.number, "model": None})
