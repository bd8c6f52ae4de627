"""How the arrays of one layer look in PyTorch and in flax: other axes, joined kernels, other names."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dlkit.layers import Layer

__all__ = ["FLAX", "TORCH", "Form", "kind_of"]

Arrays = dict[str, Any]
Read = Callable[[str], np.ndarray]
"""The array of the module that has this name there."""


class Form(NamedTuple):
    """Two ways of one kind of layer.

    Attributes:
        read: `(read, layer, params) -> (params, state)`: the arrays that the layer is to have.
        write: `(layer, params, state) -> name -> array`: those of the other library.
    """

    read: Callable[[Read, Layer, Arrays], tuple[Arrays, Arrays]]
    write: Callable[[Layer, Arrays, Arrays], Arrays]


def kind_of(layer: Layer) -> str:
    """The name of the function that made a layer, of `shared` the layer inside.

    Example:
        >>> from dlkit.layers import dense, shared
        >>> kind_of(shared(dense(3)))
        'dense'
    """
    if layer.about.token is not None:
        return kind_of(layer.parts[0].layer)
    return getattr(getattr(layer.about.made, "constructor", None), "__name__", "a layer of one's own")


def settings_of(layer: Layer) -> dict[str, Any]:
    """The arguments of the call that made a layer, with its defaults.

    Example:
        >>> from dlkit.layers import lstm
        >>> settings_of(lstm(3, depth=2))["depth"]
        2
    """
    made = layer.about.made
    if made is None:
        return {}
    bound = inspect.signature(made.constructor).bind(*made.args, **made.kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _renamed(
    template: str, names: dict[str, str], state_template: str = "", states: dict[str, str] | None = None
) -> Form:
    """Arrays that are the same there, under other names. Those that the layer has not, such as a bias, are left out."""
    of_state = states or {}

    def read(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
        del layer
        own = {name: read(template.format(other)) for name, other in names.items() if name in params}
        return own, {name: read(state_template.format(other)) for name, other in of_state.items()}

    def write(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
        del layer
        found = {template.format(other): params[name] for name, other in names.items() if name in params}
        return found | {state_template.format(other): state[name] for name, other in of_state.items()}

    return Form(read, write)


def _turned(there: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]) -> Form:
    """A kernel with other axes, and a bias: in PyTorch `weight` and `bias`."""

    def read(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
        del layer
        own = {"kernel": back(read("weight"))}
        return own | ({"bias": read("bias")} if "bias" in params else {}), {}

    def write(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
        del layer, state
        return {"weight": there(params["kernel"]), **({"bias": params["bias"]} if "bias" in params else {})}

    return Form(read, write)


def _last_two_first(kernel: np.ndarray) -> np.ndarray:
    """[*taps, in, out] -> [out, in, *taps]."""
    return np.moveaxis(kernel, (-1, -2), (0, 1))


def _first_two_last(kernel: np.ndarray) -> np.ndarray:
    """[out, in, *taps] -> [*taps, in, out]."""
    return np.moveaxis(kernel, (0, 1), (-1, -2))


def _flipped_there(kernel: np.ndarray) -> np.ndarray:
    """A transposed convolution: [*taps, in, out] -> [in, out, *taps], from the last tap on."""
    taps = tuple(range(kernel.ndim - 2))
    return np.moveaxis(np.flip(kernel, taps), (-2, -1), (0, 1))


def _flipped_back(kernel: np.ndarray) -> np.ndarray:
    return np.flip(np.moveaxis(kernel, (0, 1), (-2, -1)), tuple(range(kernel.ndim - 2)))


def _position_rows(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
    del layer, params
    return {"embedding": read("pos_embedding")[0]}, {}


_THREE = ("query", "key", "value")


def _attention_from_torch(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
    """`nn.MultiheadAttention`: the three kernels are joined where they read inputs of one size."""
    del layer
    own = {}
    widths = [params[name]["kernel"].shape[-1] for name in _THREE]
    if len({params[name]["kernel"].shape[0] for name in _THREE}) == 1:
        kernels = np.split(read("in_proj_weight").T, np.cumsum(widths)[:-1], axis=1)
    else:
        kernels = [read(f"{name[0]}_proj_weight").T for name in _THREE]
    biases = np.split(read("in_proj_bias"), np.cumsum(widths)[:-1]) if "bias" in params["query"] else None
    for place, name in enumerate(_THREE):
        own[name] = {"kernel": kernels[place], **({} if biases is None else {"bias": biases[place]})}
    own["output"] = {"kernel": read("out_proj.weight").T}
    if biases is not None:
        own["output"]["bias"] = read("out_proj.bias")
    return own, {}


def _attention_to_torch(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
    del layer, state
    kernels = [params[name]["kernel"].T for name in _THREE]
    if len({kernel.shape[1] for kernel in kernels}) == 1:
        found = {"in_proj_weight": np.concatenate(kernels)}
    else:
        found = {f"{name[0]}_proj_weight": kernel for name, kernel in zip(_THREE, kernels, strict=True)}
    found["out_proj.weight"] = params["output"]["kernel"].T
    if "bias" in params["query"]:
        found["in_proj_bias"] = np.concatenate([params[name]["bias"] for name in _THREE])
        found["out_proj.bias"] = params["output"]["bias"]
    return found


def _attention_from_flax(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
    """`nn.MultiHeadDotProductAttention`: heads have an axis of their own."""
    del layer
    own: Arrays = {}
    for name in (*_THREE, "output"):
        other = "out" if name == "output" else name
        own[name] = {
            part: read(f"params/{{}}/{other}/{part}").reshape(params[name][part].shape) for part in params[name]
        }
    return own, {}


def _attention_to_flax(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
    del state
    heads, found = settings_of(layer)["heads"], {}
    for name in (*_THREE, "output"):
        for part, array in params[name].items():
            if name == "output":
                array = array.reshape(heads, -1, array.shape[-1]) if part == "kernel" else array
            else:
                array = array.reshape(*array.shape[:-1], heads, array.shape[-1] // heads)
            found[f"params/{{}}/{'out' if name == 'output' else name}/{part}"] = array
    return found


def _directions(params: Arrays) -> list[tuple[str, str, str]]:
    """(layer, direction, PyTorch's ending) of every cell."""
    return [
        (name, direction, f"_l{name.removeprefix('layer_')}{'_reverse' if direction == 'backward' else ''}")
        for name in params
        for direction in params[name]
    ]


def _recurrent_from_torch(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
    """`nn.RNN`, `nn.GRU`, `nn.LSTM`: two biases there are one here, but for the candidate of a GRU."""
    del layer
    own: Arrays = {}
    for name, direction, ending in _directions(params):
        here = params[name][direction]
        one, other = read(f"bias_ih{ending}"), read(f"bias_hh{ending}")
        cell = {"input_kernel": read(f"weight_ih{ending}").T, "recurrent_kernel": read(f"weight_hh{ending}").T}
        if "recurrent_bias" in here:
            units = here["recurrent_bias"].shape[0]
            joined = one + np.concatenate([other[: 2 * units], np.zeros_like(other[2 * units :])])
            cell |= {"bias": joined, "recurrent_bias": other[2 * units :]}
        else:
            cell["bias"] = one + other
        own.setdefault(name, {})[direction] = cell
    return own, {}


def _recurrent_to_torch(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
    del layer, state
    found: Arrays = {}
    for name, direction, ending in _directions(params):
        cell = params[name][direction]
        other = np.zeros_like(cell["bias"])
        if "recurrent_bias" in cell:
            other = np.concatenate([other[: -cell["recurrent_bias"].shape[0]], cell["recurrent_bias"]])
        found[f"weight_ih{ending}"], found[f"weight_hh{ending}"] = cell["input_kernel"].T, cell["recurrent_kernel"].T
        found[f"bias_ih{ending}"], found[f"bias_hh{ending}"] = cell["bias"], other
    return found


_GATES = {"rnn": ("",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}


def _cell_entries(kind: str, params: Arrays) -> list[tuple[str, int, str]]:
    """(entry of a cell of flax, gate, part of ours) of one layer that reads forward."""
    if list(params) != ["layer_0"] or list(params["layer_0"]) != ["forward"]:
        raise TypeError("flax has a module for each cell: expected one recurrent layer that reads forward")
    found = []
    for gate, name in enumerate(_GATES[kind]):
        found += [(f"i{name}/kernel", gate, "input_kernel"), (f"h{name}/kernel", gate, "recurrent_kernel")]
        found.append((f"{'h' if kind == 'lstm' else 'i'}{name}/bias", gate, "bias"))
    return found


def _cell(kind: str) -> Form:
    """`SimpleCell`, `GRUCell`, `OptimizedLSTMCell`: a kernel for each gate."""

    def read(read: Read, layer: Layer, params: Arrays) -> tuple[Arrays, Arrays]:
        del layer
        gates: dict[str, list[np.ndarray]] = {}
        for entry, _, part in _cell_entries(kind, params):
            gates.setdefault(part, []).append(read(f"params/{{}}/{entry}"))
        cell = {part: np.concatenate(arrays, axis=-1) for part, arrays in gates.items()}
        if kind == "gru":
            cell["recurrent_bias"] = read("params/{}/hn/bias")
        return {"layer_0": {"forward": cell}}, {}

    def write(layer: Layer, params: Arrays, state: Arrays) -> Arrays:
        del layer, state
        entries, cell = _cell_entries(kind, params), params["layer_0"]["forward"]
        count = len(_GATES[kind])
        found = {f"params/{{}}/{entry}": np.split(cell[part], count, -1)[gate] for entry, gate, part in entries}
        return found | ({"params/{}/hn/bias": cell["recurrent_bias"]} if kind == "gru" else {})

    return Form(read, write)


_SCALE = {"scale": "weight", "bias": "bias"}
_RUNNING = {"mean": "running_mean", "var": "running_var"}
_RECURRENT = Form(_recurrent_from_torch, _recurrent_to_torch)
_NORMS = ("layer_norm", "group_norm", "instance_norm", "rms_norm")

TORCH: dict[str, Form] = {
    "dense": _turned(np.transpose, np.transpose),
    "conv": _turned(_last_two_first, _first_two_last),
    "conv_transpose": _turned(_flipped_there, _flipped_back),
    "embedding": _renamed("{}", {"embedding": "weight"}),
    "batch_norm": _renamed("{}", _SCALE, "{}", _RUNNING),
    **dict.fromkeys(_NORMS, _renamed("{}", _SCALE)),
    "multi_head_attention": Form(_attention_from_torch, _attention_to_torch),
    **dict.fromkeys(_GATES, _RECURRENT),
    "learned_positions": Form(
        _position_rows, lambda layer, params, state: {"pos_embedding": params["embedding"][None]}
    ),
    "_class_token": Form(
        lambda read, layer, params: ({"token": read("class_token").reshape(-1)}, {}),
        lambda layer, params, state: {"class_token": params["token"].reshape(1, 1, -1)},
    ),
}
"""By the name of the function that makes the layer: the modules of `torch.nn` that compute the same."""

_SAME = {name: name for name in ("kernel", "bias", "scale", "embedding")}

FLAX: dict[str, Form] = {
    **{kind: _renamed("params/{{}}/{}", _SAME) for kind in ("dense", "conv", "conv_transpose", "embedding", *_NORMS)},
    "batch_norm": _renamed("params/{{}}/{}", _SAME, "batch_stats/{{}}/{}", {"mean": "mean", "var": "var"}),
    "multi_head_attention": Form(_attention_from_flax, _attention_to_flax),
    **{kind: _cell(kind) for kind in _GATES},
}
"""The same for the modules of `flax.linen`; `Conv` and `ConvTranspose` have the layout of this library."""
