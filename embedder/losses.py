"""The losses, in `keras.ops`, so that they run on each Keras backend.

Names, arguments and values follow tensorflow-addons 0.23, which was archived in 2024: a pure
function of labels (batch,) and embeddings (batch, dim), and a thin serialisable class around it for
`model.compile(loss=...)`. Keras hands labels to the classes as float32, which tells whole numbers
apart only up to 2^24: number the items of a larger catalogue anew, or call the functions.

Where tensorflow-addons gives NaN, because a batch has no positive pair or no negative, the loss is
0 here; where an exponential overflows in it, the loss here is the finite number it stands for.
"""

from embedder.pair_losses import (
    ContrastiveLoss,
    LiftedStructLoss,
    NpairsLoss,
    contrastive_loss,
    lifted_struct_loss,
    npairs_loss,
)
from embedder.triplet_losses import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semihard_loss,
)

__all__ = [
    "ContrastiveLoss",
    "LiftedStructLoss",
    "NpairsLoss",
    "TripletHardLoss",
    "TripletSemiHardLoss",
    "contrastive_loss",
    "lifted_struct_loss",
    "npairs_loss",
    "triplet_hard_loss",
    "triplet_semihard_loss",
]
