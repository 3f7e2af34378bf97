"""Networks on the texts of tracks: embeddings of tokens, and counts of tokens.

`TokenEmbedding` learns what tokens have in common. It overfits, because names identify the artist of a train
track. `TokenCounts` treats each token separately and is better on artists that are not in train (Spotify
table: top-1 .237 to .274, instead of .212 to .235). Counts can be subtracted, so it can also predict a train
track as if that artist were unknown.

Shape suffixes: B batch, S tokens of all fields, L tokens of a field, N fields × batch, V known tokens (the
first stands for no token), K words with known vectors, F folds of artists, D values per token, I inputs of a
layer, H heads, C classes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from genremill.models.encoders.base import Inputs
from genremill.models.encoders.text import TextEncoder
from genremill.models.features import EVIDENCE, FOLD, TEXT, WEIGHT, TextKind
from genremill.models.networks.base import Batches, Network, normal
from genremill.models.pretrained import words

TOKEN_VALUES = {TextKind.NAMES: 32, TextKind.PROSE: words.VALUES, TextKind.TAGS: words.VALUES}
TOKENS_DROPPED, FIELDS_DROPPED = 0.5, 0.5
"""Shares of tokens and fields dropped in training: from whole names, a network learns artists, not genres.
The only field of an input is not dropped."""
WORD_NORM = 3.0
"""Initial norm of the embeddings of words whose vectors are known. Texts of artists that are not in train
(1,000 texts of 500 characters, 10 classes): top-1 .37 with random embeddings, .40 with these, .33 if repeated
words count once."""
PRIOR_COUNT = 2.0
"""Pseudo-rows, with the class shares of all train rows, that are added to the rows of each token."""
EVIDENCE_SCALE = 0.2
"""Factor on the evidence of all tokens, since they are not independent: n-grams of a word repeat each other.
On held-out rows of the Spotify table .19 to .24 is best."""


class TokenEmbedding(Network):
    """A linear layer on one embedding per field: the sum over its tokens, weighted by rarity (unit norm).

    Gradients are dense: sparse gradients do not support weight decay, and make a step of two ranks 5 to 25 %
    slower.
    """

    def __init__(self, encoder: TextEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        values = TOKEN_VALUES[encoder.kind]
        self.token_VD = nn.Parameter(normal(0.02, len(encoder.hash_V) + 1, values))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(encoder.fields * values, classes)

    @torch.no_grad()
    def start(self) -> None:
        """Starts the words of prose and tags from known vectors, which makes up for few rows."""
        if self.encoder.kind is TextKind.NAMES:
            return
        hash_K, vector_KD = (values.to(self.token_VD.device) for values in words.vectors())
        place_V = torch.searchsorted(hash_K, self.encoder.hash_V).clamp(max=len(hash_K) - 1)
        has_vector_V = (hash_K[place_V] == self.encoder.hash_V).nonzero()[:, 0]
        self.token_VD[has_vector_V + 1] = WORD_NORM * vector_KD[place_V[has_vector_V]]

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the single head, shape (1, B, C)."""
        number_BS = inputs[self.encoder.name]
        number_NL = number_BS.reshape(len(number_BS) * self.encoder.fields, -1)
        if self.training:
            kept_NL = torch.rand(number_NL.shape, device=number_NL.device) >= TOKENS_DROPPED
            number_NL = number_NL * kept_NL
            if self.encoder.fields > 1:
                kept_N1 = torch.rand(len(number_NL), 1, device=number_NL.device) >= FIELDS_DROPPED
                number_NL = number_NL * kept_N1
        rarity_V = torch.cat([self.encoder.rarity_V.new_zeros(1), self.encoder.rarity_V])
        weight_NL = normalize(rarity_V[number_NL.long()], dim=1)
        sum_ND = embedding_bag(number_NL, self.token_VD, mode="sum", per_sample_weights=weight_NL)
        logits_BC: Tensor = self.head(self.dropout(sum_ND.view(len(number_BS), -1)))
        return logits_BC.unsqueeze(0)


class TokenCounts(Network):
    """Weighted naive Bayes: a weighted sum over the tokens of a track of the log-odds of each class.

    A row counts as the square root of its `WEIGHT` if present, so an artist with n rows counts as √n rows. On
    the Spotify table this adds half a point of top-1 accuracy to `fusion`; equal artists are no better.
    The weight of a token (`told_V`) is the Kullback-Leibler divergence of the class shares of its rows from
    those of all rows. The sum is divided by the norm of the weights, so n equal tokens count as
    `EVIDENCE_SCALE` √n.
    """

    uses_all_rows = True

    def __init__(self, tokens: int, classes: int, folds: int = 1, name: str = TEXT) -> None:
        super().__init__()
        self.name = name
        self.classes = classes
        self.folds = folds
        # Half precision: three digits are enough, and reading a batch takes a third of the time.
        self.odds_VC = nn.Buffer(torch.zeros(tokens + 1, classes, dtype=torch.float16))
        self.told_V = nn.Buffer(torch.zeros(tokens + 1))
        self.log_share_C = nn.Buffer(torch.full((classes,), -math.log(classes)))
        self._by_others: tuple[Tensor, Tensor] | None = None
        """Odds and weights of tokens without the rows of each fold, shapes (F × V, C) and (F × V,)."""
        self._counts: tuple[Tensor, Tensor] | None = None
        """Weighted rows so far by fold, token and class, (F, V, C), and by class, (C,), plus one."""

    def fit_train(self, batches: Batches) -> None:
        """Counts the tokens of all train rows by class and, if there are several folds, by `FOLD`."""
        for inputs, label_B in batches:
            self.count(inputs, label_B)
        self.finish()

    @torch.inference_mode()
    def count(self, inputs: Inputs, label_B: Tensor) -> None:
        """Counts the tokens of a batch of train rows."""
        tokens = len(self.odds_VC)
        if self._counts is None:
            device = self.odds_VC.device
            count_FVC = torch.zeros(self.folds, tokens, self.classes, device=device)
            self._counts = count_FVC, torch.ones(self.classes, device=device)
        count_FVC, rows_C = self._counts
        number_BS = inputs[self.name].long()
        if self.folds > 1:
            number_BS = number_BS + tokens * inputs[FOLD].long()
        cell_BS = number_BS * self.classes + label_B[:, None]
        weight_B = (
            inputs[WEIGHT][:, 0].sqrt() if WEIGHT in inputs else torch.ones_like(label_B, dtype=rows_C.dtype)
        )
        weight_BS = weight_B[:, None].expand(cell_BS.shape)
        count_FVC.view(-1).scatter_add_(0, cell_BS.flatten(), weight_BS.flatten())
        rows_C += torch.bincount(label_B, weight_B, minlength=self.classes)

    @torch.inference_mode()
    def finish(self) -> None:
        """Computes the evidence of each token from what was counted; without any row, there is none."""
        if self._counts is None:
            return
        count_FVC, rows_C = self._counts
        self._counts = None
        share_C = rows_C / rows_C.sum()
        self.log_share_C.copy_(share_C.log())
        count_VC = count_FVC.sum(dim=0)
        odds_VC, weight_V = _weighted(count_VC, share_C)
        self.odds_VC.copy_(odds_VC)
        self.told_V.copy_(weight_V)
        if self.folds == 1:
            return
        odds_FVC = count_FVC.new_zeros(count_FVC.shape, dtype=self.odds_VC.dtype)
        weight_FV = count_FVC.new_zeros(count_FVC.shape[:2])
        for fold, own_VC in enumerate(count_FVC):
            odds_FVC[fold], weight_FV[fold] = _weighted(count_VC - own_VC, share_C)
        self._by_others = odds_FVC.flatten(0, 1), weight_FV.flatten()

    @torch.no_grad()
    def evidence(self, inputs: Inputs) -> Tensor:
        """Evidence of the text for each class, as logits of shape (B, C): 0 for a row without known tokens.

        In training, if there are several folds, the evidence comes from the rows of the other folds.
        """
        number_BS, by_others = inputs[self.name], self._by_others if self.training else None
        odds_VC, weight_V = by_others or (self.odds_VC, self.told_V)
        if by_others:
            number_BS = number_BS + len(self.told_V) * inputs[FOLD].to(number_BS.dtype)
        sum_BC = embedding_bag(number_BS, odds_VC, mode="sum").to(self.log_share_C.dtype)
        norm_B1 = weight_V[number_BS.long()].norm(dim=1, keepdim=True)
        evidence_BC: Tensor = EVIDENCE_SCALE * sum_BC / norm_B1.clamp_min(1e-6)
        return evidence_BC

    @torch.inference_mode()
    def by_token(self, number_S: Tensor, label: int) -> Tensor:
        """The part of the evidence for one class that each token of a track gives, shape (S,)."""
        norm = self.told_V[number_S.long()].norm().clamp_min(1e-6)
        evidence_S: Tensor = EVIDENCE_SCALE * self.odds_VC[number_S.long(), label].to(norm.dtype) / norm
        return evidence_S

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the single head, shape (1, B, C); for a row without tokens, the class shares."""
        found = EVIDENCE + self.name
        evidence_BC = inputs[found] if found in inputs else self.evidence(inputs)
        return (self.log_share_C + evidence_BC).unsqueeze(0)


def _weighted(count_VC: Tensor, share_C: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted log-odds of the classes for each token, and its weight: shapes (V, C) and (V,)."""
    share_VC = (count_VC + PRIOR_COUNT * share_C) / (count_VC.sum(dim=1, keepdim=True) + PRIOR_COUNT)
    log_odds_VC = (share_VC / share_C).log()
    weight_V = (share_VC * log_odds_VC).sum(dim=1).clamp_min(0)
    weight_V[0] = 0  # stands for no token
    return weight_V[:, None] * log_odds_VC, weight_V
