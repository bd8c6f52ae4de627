"""Conformance rows of dlkit.layers: recurrent."""

from dlkit import layers
from tests.cases.base import Case, layer

CASES: tuple[Case, ...] = (
    layer("layers.rnn", layers.rnn(3), (4, 2)),
    layer("layers.rnn-relu", layers.rnn(3, activation="relu", output="last"), (1, 2), limit=1e18),
    layer("layers.gru", layers.gru(3), (4, 2)),
    layer("layers.gru-bidirectional", layers.gru(3, bidirectional=True, depth=2, output="last"), (4, 2)),
    layer("layers.lstm", layers.lstm(3), (4, 2)),
    layer("layers.lstm-last", layers.lstm(3, output="last", unroll=2), (4, 2)),
    layer("layers.lstm-train", layers.lstm(3, depth=2, dropout=0.5, recurrent_dropout=0.5), (4, 2), train=True),
)
