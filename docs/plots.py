"""The plots of the reference pages: every activation and its derivative, every loss against what it judges."""

import io
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from dlkit import activations, gan_losses, losses
from dlkit.typing import Array

__all__ = ["PLOTS", "Plot", "draw"]

Curve = Callable[[Array], Array]
"""One number -> one number."""


class Plot(NamedTuple):
    """Curves over one number.

    Attributes:
        caption: what is seen, for those who cannot see it.
        x_label: what the number is.
        curves: label -> function of the number.
        limits: the number's range.
        y_label: what the curves are, where no legend says it.
    """

    caption: str
    x_label: str
    curves: Mapping[str, Curve]
    limits: tuple[float, float] = (-4.0, 4.0)
    y_label: str = ""


def draw(name: str) -> bytes:
    """Returns a plot as SVG; the same bytes every time.

    Args:
        name: one of `PLOTS`.
    """
    plot = PLOTS[name]
    x = np.linspace(*plot.limits, 401, dtype=np.float32)
    with rc_context({"svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(4.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for (label, curve), style in zip(plot.curves.items(), ("-", "--", "-.", ":"), strict=False):
            axes.plot(x, jax.vmap(curve)(jnp.asarray(x)), style, label=label)
        axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        axes.spines[["top", "right"]].set_visible(False)
        if len(plot.curves) > 1:
            axes.legend(facecolor="white", edgecolor="none", framealpha=1)  # over the lines at zero
        content = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    return content.getvalue()


# --- activations ---


def _activation(name: str) -> Plot:
    function = getattr(activations, name)
    return Plot(f"{name} and its derivative", "x", {"value": function, "derivative": jax.grad(function)})


def _prelu() -> Plot:
    slopes = (0.0, 0.25, 0.5)
    curves = {f"slope {slope}": lambda x, slope=slope: activations.prelu(x, jnp.asarray(slope)) for slope in slopes}
    return Plot("prelu for three slopes", "x", curves)


def _pair(first: Array, second: float | Array) -> Array:
    """[first, second] as one example."""
    return jnp.stack([first, jnp.asarray(second, first.dtype)])


def _gate(name: str, *, gated: bool) -> Plot:
    """A gate over its first half, for fixed values of the second."""
    function = getattr(activations, name)
    curves = {f"other half {value}": lambda x, value=value: function(_pair(x, value))[0] for value in (-2.0, 0.5, 2.0)}
    what = "the half that is gated" if gated else "the half that gates"
    return Plot(f"{name} of a pair, for three values of the second", f"x, {what}", curves)


def _shares(name: str) -> Plot:
    function = getattr(activations, name)
    curves = {"at x": lambda x: function(_pair(x, 0.0))[0], "at 0": lambda x: function(_pair(x, 0.0))[1]}
    return Plot(f"{name} of the pair (x, 0)", "x", curves)


def _gumbel_softmax() -> Plot:
    """Without its noise, which shifts x."""
    curves = {f"temperature {t}": lambda x, t=t: activations.softmax(_pair(x, 0.0) / t)[0] for t in (0.2, 1.0, 5.0)}
    return Plot("gumbel_softmax of the pair (x, 0) with equal noise, for three temperatures", "x", curves)


_ACTIVATIONS: dict[str, Plot] = {name: _activation(name) for name in activations.NAMES} | {
    "prelu": _prelu(),
    "softmax": _shares("softmax"),
    "log_softmax": _shares("log_softmax"),
    "gumbel_softmax": _gumbel_softmax(),
    "sparsemax": _shares("sparsemax"),
    "glu": _gate("glu", gated=True),
    "swiglu": _gate("swiglu", gated=False),
    "geglu": _gate("geglu", gated=False),
}

# --- losses ---


def _regression(function: Callable[..., Array], **settings: object) -> Curve:
    return lambda x: function(x, jnp.zeros_like(x), **settings)


def _sets(name: str, setting: str, values: tuple[float, ...]) -> Plot:
    """A regression loss for several values of its setting."""
    function = getattr(losses, name)
    curves = {f"{setting} = {value}": _regression(function, **{setting: value}) for value in values}
    return Plot(f"{name} for several values of {setting}", "prediction - target", curves)


def _plain(name: str) -> Plot:
    return Plot(name, "prediction - target", {name: _regression(getattr(losses, name))})


def _two_classes(function: Callable[..., Array], **settings: object) -> Curve:
    """A loss of the logits (x, 0) where the first class is right."""
    return lambda x: function(_pair(x, 0.0), jnp.asarray(0), **settings)


def _margin(name: str) -> Plot:
    function = getattr(losses, name)
    return Plot(f"{name} where the label is +1", "score", {name: lambda x: function(x, jnp.ones_like(x))})


def _bernoulli(x: Array) -> Array:
    """The probabilities (x, 1 - x)."""
    return _pair(x, 1.0 - x)


def _divergence(name: str) -> Plot:
    """A divergence of two coins."""
    function = getattr(losses, name)
    curves = {
        f"target {target}": lambda p, target=target: function(
            jnp.log(_bernoulli(p)), _bernoulli(jnp.asarray(target, p.dtype))
        )
        for target in (0.5, 0.2)
    }
    return Plot(f"{name} between two coins", "probability of heads", curves, (0.01, 0.99))


def _ctc(x: Array) -> Array:
    """Three steps that each give the only label the logit x, the blank 0."""
    logits = jnp.stack([jnp.zeros(3), jnp.full(3, 1.0) * x], axis=-1)
    return losses.ctc(logits, jnp.array([1]), logit_lengths=jnp.asarray(3), target_lengths=jnp.asarray(1))


def _angle(x: Array) -> Array:
    """The unit vector at an angle."""
    return jnp.stack([jnp.cos(x), jnp.sin(x)])


_EAST = np.array([1.0, 0.0], np.float32)

_LOSSES: dict[str, Plot] = {
    "squared_error": _plain("squared_error"),
    "absolute_error": _plain("absolute_error"),
    "log_cosh": _plain("log_cosh"),
    "huber": _sets("huber", "delta", (0.5, 1.0, 2.0)),
    "quantile": _sets("quantile", "level", (0.1, 0.5, 0.9)),
    "cross_entropy": Plot(
        "cross-entropy of two classes, with and without label smoothing",
        "logit of the right class - logit of the other",
        {
            "cross_entropy": _two_classes(losses.cross_entropy),
            "label_smoothing = 0.2": _two_classes(losses.cross_entropy, label_smoothing=0.2),
        },
    ),
    "binary_cross_entropy": Plot(
        "binary cross-entropy for three targets",
        "logit",
        {
            f"target {target}": lambda x, target=target: losses.binary_cross_entropy(x, jnp.full_like(x, target))
            for target in (1.0, 0.5, 0.0)
        },
    ),
    "focal": Plot(
        "focal loss where the target is 1, for three exponents",
        "logit",
        {
            f"gamma = {gamma}": lambda x, gamma=gamma: losses.focal(x, jnp.ones_like(x), gamma=gamma)
            for gamma in (0.0, 2.0, 5.0)
        },
    ),
    "hinge": _margin("hinge"),
    "squared_hinge": _margin("squared_hinge"),
    "multiclass_hinge": Plot(
        "multi-class hinge of two classes",
        "score of the right class - score of the other",
        {"multiclass_hinge": _two_classes(losses.multiclass_hinge)},
    ),
    "kl_divergence": _divergence("kl_divergence"),
    "reverse_kl_divergence": _divergence("reverse_kl_divergence"),
    "jensen_shannon": _divergence("jensen_shannon"),
    "kl_divergence_normal": Plot(
        "divergence of a normal distribution from the standard one",
        "mean",
        {
            f"log-variance {value}": lambda x, value=value: losses.kl_divergence_normal(
                x.reshape(1), jnp.full(1, value)
            )
            for value in (0.0, -2.0, 1.0)
        },
    ),
    "gaussian_nll": Plot(
        "negative log-likelihood of a normal distribution",
        "mean - target",
        {
            f"log-variance {value}": lambda x, value=value: losses.gaussian_nll(
                x, jnp.zeros_like(x), jnp.full_like(x, value)
            )
            for value in (-1.0, 0.0, 1.0)
        },
    ),
    "poisson_nll": Plot(
        "negative log-likelihood of a Poisson distribution",
        "logarithm of the rate",
        {
            f"count {count}": lambda x, count=count: losses.poisson_nll(x, jnp.full_like(x, count))
            for count in (0.0, 1.0, 5.0)
        },
        (-3.0, 2.5),
    ),
    "cosine_distance": Plot(
        "cosine distance of two directions",
        "angle between them",
        {"cosine_distance": lambda x: losses.cosine_distance(_angle(x), jnp.asarray(_EAST))},
        (-3.1416, 3.1416),
    ),
    "triplet": Plot(
        "triplet loss of points on a line: the anchor at 0, the positive at 1",
        "place of the negative",
        {"triplet": lambda x: losses.triplet(jnp.asarray([0.0, 0.0]), jnp.asarray(_EAST), _pair(x, 0.0))},
    ),
    "info_nce": Plot(
        "InfoNCE of two pairs of directions, the first key turned by an angle",
        "angle between the first query and its key",
        {
            f"temperature {temperature}": lambda x, temperature=temperature: losses.info_nce(
                jnp.eye(2), jnp.stack([_angle(x), jnp.array([0.0, 1.0])]), temperature=temperature
            ).mean()
            for temperature in (0.2, 1.0)
        },
        (-3.1416, 3.1416),
    ),
    "cox": Plot(
        "cox of an event among three at risk, over its log hazard",
        "log hazard, the others' being 0",
        {"cox": lambda x: losses.cox(jnp.stack([x, 0 * x, 0 * x]), jnp.arange(3.0), jnp.array([1, 0, 0]))[0]},
    ),
    "aft": Plot(
        "aft of an event and of a censored example at time 1, over the predicted log time",
        "location",
        {
            label: lambda x, event=event: losses.aft(x, 0 * x + 1, jnp.asarray(event), 0 * x)
            for label, event in (("event", 1), ("censored", 0))
        },
        limits=(-2.0, 4.0),
    ),
    "linear_cross_entropy": Plot(
        "cross-entropy of two classes whose logits are (x, 0), by a last layer",
        "input of the layer",
        {"linear_cross_entropy": lambda x: losses.linear_cross_entropy(x.reshape(1), jnp.asarray(0), [[1.0, 0.0]])},
    ),
    "distillation": Plot(
        "distillation of a teacher whose logits are (1, 0), at two temperatures",
        "the student's logit of the first class, that of the other being 0",
        {
            f"temperature {temperature}": lambda x, temperature=temperature: losses.distillation(
                _pair(x, 0.0), jnp.asarray(_EAST), temperature=temperature
            )
            for temperature in (1.0, 4.0)
        },
    ),
    "z_loss": Plot(
        "z-loss of two logits", "one logit, the other being 0", {"z_loss": lambda x: losses.z_loss(_pair(x, 0.0))}
    ),
    "dice": Plot(
        "Dice loss of two decisions with the targets 1 and 0, the second right",
        "logit of the first",
        {"dice": lambda x: losses.dice(_pair(x, -4.0), jnp.asarray(_EAST))},
    ),
    "multiclass_dice": Plot(
        "Dice loss of the first of two classes, for two elements of one class each, the second right",
        "logit of the first element's class - logit of the other",
        {
            "multiclass_dice": lambda x: losses.multiclass_dice(
                jnp.stack([_pair(x, 0.0), jnp.asarray([0.0, 4.0])]), jnp.asarray([0, 1])
            )[0]
        },
    ),
    "multiclass_focal": Plot(
        "focal loss of two classes, for three exponents",
        "logit of the right class - logit of the other",
        {f"gamma = {gamma}": _two_classes(losses.multiclass_focal, gamma=gamma) for gamma in (0.0, 2.0, 5.0)},
    ),
    "ordinal": Plot(
        "ordinal loss of three classes with the thresholds -1 and 1",
        "score",
        {
            f"class {target}": lambda x, target=target: losses.ordinal(_pair(x + 1.0, x - 1.0), jnp.asarray(target))
            for target in (0, 1, 2)
        },
    ),
    "nt_xent": Plot(
        "NT-Xent of two pairs of directions, one view turned by an angle",
        "angle between the first pair's views",
        {
            f"temperature {temperature}": lambda x, temperature=temperature: losses.nt_xent(
                jnp.eye(2), jnp.stack([_angle(x), jnp.array([0.0, 1.0])]), temperature=temperature
            ).mean()
            for temperature in (0.2, 1.0)
        },
        (-3.1416, 3.1416),
    ),
    "supervised_contrastive": Plot(
        "supervised contrastive loss of two directions of a class beside one of another, one of the two turned",
        "angle between the two",
        {
            f"temperature {temperature}": lambda x, temperature=temperature: losses.supervised_contrastive(
                jnp.stack([jnp.asarray(_EAST), _angle(x), jnp.array([0.0, 1.0])]),
                jnp.asarray([0, 0, 1]),
                temperature=temperature,
            )[0]
            for temperature in (0.2, 1.0)
        },
        (-3.1416, 3.1416),
    ),
    "list_net": Plot(
        "ListNet of two items with the relevances 1 and 0",
        "score of the first - score of the second",
        {"list_net": lambda x: losses.list_net(_pair(x, 0.0), jnp.asarray(_EAST))},
    ),
    "list_mle": Plot(
        "ListMLE of two items with the relevances 1 and 0",
        "score of the first - score of the second",
        {"list_mle": lambda x: losses.list_mle(_pair(x, 0.0), jnp.asarray(_EAST))},
    ),
    "student_t_nll": Plot(
        "negative log-likelihood of Student's t of scale 1, for three numbers of degrees of freedom",
        "location - target",
        {
            f"{n} degrees": lambda x, n=n: losses.student_t_nll(x, 0 * x, 0 * x, degrees_of_freedom=n)
            for n in (1.0, 4.0, 100.0)
        },
    ),
    "mixture_nll": Plot(
        "negative log-likelihood of a mixture of two normals, at -2 and 2",
        "target",
        {
            "mixture_nll": lambda x: losses.mixture_nll(
                jnp.zeros(2), losses.gaussian_nll(jnp.asarray([-2.0, 2.0]), _pair(x, x), jnp.zeros(2), full=True)
            )
        },
    ),
    "maximum_mean_discrepancy": Plot(
        "maximum mean discrepancy of a point from one at 0, for two bandwidths",
        "place of the point",
        {
            f"bandwidth {h}": lambda x, h=h: losses.maximum_mean_discrepancy(
                x.reshape(1, 1), jnp.zeros((1, 1)), bandwidth=h
            )
            for h in (0.5, 2.0)
        },
    ),
    "sinkhorn": Plot(
        "Sinkhorn divergence of a point from one at 0",
        "place of the point",
        {"sinkhorn": lambda x: losses.sinkhorn(x.reshape(1, 1), jnp.zeros((1, 1)), iterations=5)},
    ),
    "ctc": Plot("CTC of one label in three steps", "logit of the label - logit of the blank", {"ctc": _ctc}),
}

# --- GAN losses ---


def _players(name: str) -> Plot:
    """Both players' losses against the score of a fake; the real example's is fixed."""
    loss = gan_losses.get(name)
    return Plot(
        f"{name}: both players' losses against the score of a fake, with a real example scored 1",
        "score of the fake example",
        {
            "discriminator": lambda x: sum(loss.discriminator(jnp.ones_like(x), x)),
            "generator": loss.generator,
        },
    )


_GAN_LOSSES: dict[str, Plot] = {name: _players(name) for name in gan_losses.NAMES}

PLOTS: dict[str, Plot] = {
    **{f"activations.{name}": plot for name, plot in _ACTIVATIONS.items()},
    **{f"losses.{name}": plot._replace(y_label="loss") for name, plot in _LOSSES.items()},
    **{f"gan_losses.{name}": plot._replace(y_label="loss") for name, plot in _GAN_LOSSES.items()},
}
