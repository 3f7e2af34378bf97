"""Networks on the names of tracks: what tokens mean, what they count, and what numbers tell beside that.

The first finds what tokens have in common, and believes too much of what it has seen: names tell a train
track's artist. The second knows each token for itself, and is the better one on artists never heard (of the
Spotify table, .237 to .274 top-1 against .212 to .235). Since it counts, what it would say of a train track
without that artist is known too, by subtraction. From that the third learns what numbers and names tell
together, which it could not from names that give the artist away.

Shape suffixes: B batch, S tokens of all fields, L tokens of a field, N fields × batch, V known tokens and, as
the first, none, F folds of artists, D values a token, W values that a last layer takes, I inputs of a layer,
H heads, C classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from genremill.models.encoders.base import Inputs
from genremill.models.encoders.table import TableEncoder
from genremill.models.encoders.text import TextEncoder
from genremill.models.encoders.text_tokens import FIELDS
from genremill.models.features import EVIDENCE, FOLD, TEXT
from genremill.models.networks.base import Network
from genremill.models.networks.periodic_mlp import PeriodicMLP
from genremill.models.recipe import Size

TOKEN_VALUES = 32
TOKENS_DROPPED, FIELDS_DROPPED = 0.5, 0.5
"""Shares taken away at random in training: a network that reads all of a name learns artists, not genres."""
PRIOR_COUNT = 2.0
"""Rows of all classes, by their shares, that each token is taken to have been seen in beside its own."""
EVIDENCE_SCALE = 0.2
"""What tokens say together, of what they would if they were independent and as many as they look: n-grams of
one word tell the same. Held-out rows of the Spotify table say .19 to .24."""


class TokenEmbedding(Network):
    """A linear map of the embeddings of each field: sums of its tokens', the rarer the more, of unit norm.

    Gradients are dense: sparse ones know no weight decay, and two ranks took 1.05 to 1.25 times as long for a
    step.
    """

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        self.width = len(FIELDS) * TOKEN_VALUES
        self.token_VD = nn.Parameter(torch.randn(len(encoder.hash_V) + 1, TOKEN_VALUES) * 0.02)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(self.width, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Embeddings of the fields, shape (1, B, W)."""
        number_BS = inputs[TEXT]
        number_NL = number_BS.reshape(len(number_BS) * len(FIELDS), -1)
        if self.training:
            kept_NL = torch.rand(number_NL.shape, device=number_NL.device) >= TOKENS_DROPPED
            kept_N1 = torch.rand(len(number_NL), 1, device=number_NL.device) >= FIELDS_DROPPED
            number_NL = number_NL * (kept_NL & kept_N1)
        rarity_V = torch.cat([self.encoder.rarity_V.new_zeros(1), self.encoder.rarity_V])
        weight_NL = normalize(rarity_V[number_NL.long()], dim=1)
        sum_ND = embedding_bag(number_NL, self.token_VD, mode="sum", per_sample_weights=weight_NL)
        values_BW: Tensor = self.dropout(sum_ND.view(len(number_BS), -1))
        return values_BW.unsqueeze(0)

    def logits(self, value_HBW: Tensor) -> Tensor:
        """Logits of the one head, shape (1, B, C)."""
        found: Tensor = self.head(value_HBW)
        return found


class TokenCounts(Network):
    """Naive Bayes: how much likelier each class is made by a track's tokens, each weighed by what it tells.

    A token tells the Kullback-Leibler divergence of the classes' shares among its rows from those among all.
    The sum over tokens is divided by the norm of the weights: n that tell alike count as `EVIDENCE_SCALE` √n.
    """

    uses_all_rows = True

    def __init__(self, tokens: int, classes: int, folds: int = 1) -> None:
        super().__init__()
        self.classes = classes
        self.folds = folds
        # Half precision: three digits of evidence are enough, and a batch is read in a third of the time.
        self.register_buffer("odds_VC", torch.zeros(tokens + 1, classes, dtype=torch.float16))
        self.register_buffer("told_V", torch.zeros(tokens + 1))
        self.register_buffer("log_share_C", torch.full((classes,), 1 / classes).log())
        self.odds_VC: Tensor
        self.told_V: Tensor
        self.log_share_C: Tensor
        self._by_others: tuple[Tensor, Tensor] | None = None
        """Odds and what tokens tell as they are without each fold, shapes (F × V, C) and (F × V,)."""

    @torch.inference_mode()
    def fit_train(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Counts the tokens of all train rows by class; of several folds, each by `FOLD` too."""
        tokens = len(self.odds_VC)
        count_FVC = torch.zeros(self.folds, tokens, self.classes, device=self.odds_VC.device)
        rows_C = torch.ones(self.classes, device=count_FVC.device)
        for inputs, label_B in batches:
            number_BS = inputs[TEXT].long()
            if self.folds > 1:
                number_BS = number_BS + tokens * inputs[FOLD].long()
            at = (number_BS * self.classes + label_B[:, None]).flatten()
            count_FVC.view(-1).scatter_add_(0, at, torch.ones_like(at, dtype=count_FVC.dtype))
            rows_C += torch.bincount(label_B, minlength=self.classes)
        share_C = rows_C / rows_C.sum()
        self.log_share_C.copy_(share_C.log())
        count_VC = count_FVC.sum(dim=0)
        odds_VC, told_V = _weighed(count_VC, share_C)
        self.odds_VC.copy_(odds_VC)
        self.told_V.copy_(told_V)
        if self.folds == 1:
            return
        odds_FVC = count_FVC.new_zeros(count_FVC.shape, dtype=self.odds_VC.dtype)
        told_FV = count_FVC.new_zeros(self.folds, tokens)
        for fold, own_VC in enumerate(count_FVC):
            odds_FVC[fold], told_FV[fold] = _weighed(count_VC - own_VC, share_C)
        self._by_others = odds_FVC.flatten(0, 1), told_FV.flatten()

    @torch.no_grad()
    def evidence(self, inputs: Inputs) -> Tensor:
        """What the names say of each class, as logits of shape (B, C): 0 for a row without known tokens.

        In training, where there are several folds, it is said of a row by the other folds'.
        """
        number_BS, odds_VC, told_V = inputs[TEXT], self.odds_VC, self.told_V
        if self.training and self._by_others is not None:
            number_BS = number_BS + len(told_V) * inputs[FOLD].to(number_BS.dtype)
            odds_VC, told_V = self._by_others
        sum_BC = embedding_bag(number_BS, odds_VC, mode="sum").to(self.log_share_C.dtype)
        norm_B1 = told_V[number_BS.long()].norm(dim=1, keepdim=True)
        found_BC: Tensor = EVIDENCE_SCALE * sum_BC / norm_B1.clamp_min(1e-6)
        return found_BC

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the one head, shape (1, B, C); of a row without tokens, those of the shares."""
        evidence_BC = inputs[EVIDENCE] if EVIDENCE in inputs else self.evidence(inputs)
        return (self.log_share_C + evidence_BC).unsqueeze(0)


def _weighed(count_VC: Tensor, share_C: Tensor) -> tuple[Tensor, Tensor]:
    """Log-odds of the classes by each token times what it tells, and that alone: shapes (V, C) and (V,)."""
    seen_V1 = count_VC.sum(dim=1, keepdim=True)
    share_VC = (count_VC + PRIOR_COUNT * share_C) / (seen_V1 + PRIOR_COUNT)
    log_odds_VC = (share_VC / share_C).log()
    told_V = (share_VC * log_odds_VC).sum(dim=1).clamp_min(0)
    told_V[0] = 0  # of the place of no token
    return told_V[:, None] * log_odds_VC, told_V


class NumbersBesideNames(PeriodicMLP):
    """What numbers and names tell together: `EVIDENCE` goes in beside the numbers, and to the answer."""

    def __init__(self, encoder: TableEncoder, classes: int, size: Size) -> None:
        super().__init__(encoder, classes, size, beside=classes)
        self.trust = nn.Parameter(torch.ones(1))

    def encoded(self, inputs: Inputs) -> Tensor:
        """What the first hidden layer takes, shape (B, I)."""
        return torch.cat([super().encoded(inputs), inputs[EVIDENCE]], dim=1)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of each member, shape (H, B, C)."""
        return super().forward(inputs) + self.trust * inputs[EVIDENCE]
