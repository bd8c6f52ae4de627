"""What to write instead: the valid name that is nearest to the one that was given, or means the same elsewhere."""

import difflib
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, NoReturn

__all__ = ["ALIASES", "closest", "missing_attribute", "nearest"]

MOST_LISTED = 16  # names that a message lists in full
SHOWN = 6  # of more than those
SUFFIXES = ("1d", "2d", "3d", "loss", "layer", "regularizer", "optimizer")  # that other libraries append

# What something is called elsewhere, as `_plain` writes it -> its names here; the first that is valid is meant.
ALIASES = MappingProxyType(
    {
        # hyperparameters
        **dict.fromkeys(("lr", "eta", "alpha", "stepsize", "rate"), ("learning_rate",)),
        **dict.fromkeys(("wd", "decay", "l2penalty"), ("weight_decay", "l2")),
        **dict.fromkeys(("epsilon", "e"), ("eps",)),
        "beta1": ("b1", "beta"),
        "beta2": ("b2",),
        "beta": ("b1", "momentum"),
        "mu": ("momentum", "b1"),
        # budgets and calls
        **dict.fromkeys(("trials", "ntrials", "numtrials", "points", "samples", "configs"), ("tuning_points",)),
        **dict.fromkeys(("seed", "nseeds", "numseeds", "repeats", "repetitions", "runs"), ("seeds",)),
        **dict.fromkeys(("epochs", "nepochs", "iterations", "iters", "nsteps", "numsteps", "maxsteps"), ("steps",)),
        **dict.fromkeys(("timeout", "maxseconds", "timelimit"), ("trial_seconds",)),
        **dict.fromkeys(("search", "sampler", "algorithm", "strategy"), ("tuner",)),
        **dict.fromkeys(("batch", "bs", "minibatch", "minibatchsize"), ("batch_size",)),
        **dict.fromkeys(("optimisers", "optims", "opts", "methods", "contenders", "optimizer"), ("optimizers",)),
        "optimiser": ("optimizer", "Optimizer", "optimizers"),
        **dict.fromkeys(("tasks", "task", "problem"), ("problems", "problem", "Problem")),
        **dict.fromkeys(("patienc", "earlystop"), ("early_stopping",)),
        **dict.fromkeys(("path", "dir", "directory", "output", "outputdir", "savedir", "logdir"), ("folder",)),
        **dict.fromkeys(("njobs", "jobs", "cpus", "cores", "processes", "numworkers"), ("workers",)),
        **dict.fromkeys(("verbose", "progressbar"), ("progress",)),
        **dict.fromkeys(("hyperparameters", "params", "searchspace", "ranges", "hparams"), ("space",)),
        "untilsettled": ("settling",),
        **dict.fromkeys(("scheduler", "lrschedule"), ("schedule",)),
        **dict.fromkeys(("max", "maximize", "maximise", "up", "greater"), ("higher",)),
        **dict.fromkeys(("min", "minimize", "minimise", "down", "less"), ("lower",)),
        **dict.fromkeys(("logarithmic", "loguniform", "log10"), ("log_uniform", "log")),
        **dict.fromkeys(("lin", "unif"), ("uniform", "linear")),
        **dict.fromkeys(("tune", "benchmark", "study", "sweep"), ("compare",)),
        **dict.fromkeys(("config", "settings"), ("Budget",)),
        **dict.fromkeys(("acc",), ("accuracy",)),
        # losses
        **dict.fromkeys(("mse", "meansquarederror", "meansquared", "l2error"), ("squared_error",)),
        **dict.fromkeys(("mae", "meanabsoluteerror", "l1error"), ("absolute_error",)),
        **dict.fromkeys(
            ("softmaxcrossentropy", "categoricalcrossentropy", "sparsecategoricalcrossentropy", "nll", "ce", "xent"),
            ("cross_entropy",),
        ),
        **dict.fromkeys(("bce", "bcewithlogits", "sigmoidbinarycrossentropy", "logloss"), ("binary_cross_entropy",)),
        **dict.fromkeys(("smoothl1",), ("huber",)),
        **dict.fromkeys(("kl", "kld", "kldiv"), ("kl_divergence",)),
        **dict.fromkeys(("pinball", "quantileregression"), ("quantile",)),
        **dict.fromkeys(("contrastive", "clip", "npair"), ("info_nce",)),
        **dict.fromkeys(("simclr", "normalizedtemperaturescaledcrossentropy"), ("nt_xent",)),
        **dict.fromkeys(("supcon", "supervisedntxent"), ("supervised_contrastive",)),
        **dict.fromkeys(("kd", "knowledgedistillation", "teacherstudent", "softtargets"), ("distillation",)),
        **dict.fromkeys(("softdice", "generalizeddice", "f1loss", "sorensendice"), ("dice",)),
        **dict.fromkeys(("categoricalfocal", "softmaxfocal", "categoricalfocalcrossentropy"), ("multiclass_focal",)),
        **dict.fromkeys(("sigmoidfocal", "binaryfocal", "binaryfocalcrossentropy"), ("focal",)),
        **dict.fromkeys(("multimargin", "crammersinger", "svm"), ("multiclass_hinge", "hinge")),
        **dict.fromkeys(("coral", "corn", "ordinalregression", "cumulativelink"), ("ordinal",)),
        **dict.fromkeys(("rankingsoftmax", "listwise", "softmaxranking", "learningtorank"), ("list_net",)),
        **dict.fromkeys(("plackettluce",), ("list_mle",)),
        **dict.fromkeys(("mdn", "mixturedensity", "gaussianmixture", "gmm"), ("mixture_nll",)),
        **dict.fromkeys(("studentt", "tdistribution", "studentst", "cauchy"), ("student_t_nll",)),
        **dict.fromkeys(("gaussian", "normal", "gaussiannegativeloglikelihood"), ("gaussian_nll",)),
        **dict.fromkeys(("poisson", "poissonnegativeloglikelihood"), ("poisson_nll",)),
        **dict.fromkeys(("mmd", "kerneltwosample"), ("maximum_mean_discrepancy",)),
        **dict.fromkeys(("wasserstein", "earthmover", "emd", "optimaltransport", "ot"), ("wasserstein", "sinkhorn")),
        **dict.fromkeys(
            (
                "cutcrossentropy",
                "fusedlinearcrossentropy",
                "chunkedcrossentropy",
            ),
            ("linear_cross_entropy",),
        ),
        **dict.fromkeys(("logcosherror",), ("log_cosh",)),
        **dict.fromkeys(("cosinesimilarity", "cosine", "cosineembedding"), ("cosine_distance",)),
        **dict.fromkeys(("jsd", "js", "jensenshannondivergence"), ("jensen_shannon",)),
        "l1": ("l1", "absolute_error"),
        "l2": ("l2", "squared_error", "weight_decay"),
        # layers, activations, models
        **dict.fromkeys(
            ("units", "channels", "filters", "outchannels", "outfeatures", "hiddensize", "hiddenfeatures"),
            ("features",),
        ),
        **dict.fromkeys(("labels", "label"), ("targets",)),
        **dict.fromkeys(("labellengths",), ("target_lengths",)),
        **dict.fromkeys(("linear", "fc", "fullyconnected"), ("dense", "linear", "identity")),
        **dict.fromkeys(("sequential", "chain", "stack"), ("serial",)),
        **dict.fromkeys(("embed",), ("embedding",)),
        **dict.fromkeys(("bn", "batchnormalization"), ("batch_norm",)),
        **dict.fromkeys(("ln", "layernormalization"), ("layer_norm",)),
        **dict.fromkeys(("avgpool", "meanpool"), ("average_pool",)),
        **dict.fromkeys(("attention", "multiheaddotproductattention", "mha"), ("multi_head_attention",)),
        **dict.fromkeys(("gqa", "groupedqueryattention", "mqa", "crossattention"), ("multi_head_attention",)),
        **dict.fromkeys(("t5bias", "relativepositionbias", "relativebias"), ("relative_positions",)),
        **dict.fromkeys(("kvcache", "cache", "incremental", "decode", "decoder"), ("stepwise", "generate")),
        **dict.fromkeys(("initialcarry", "initializecarry"), ("initial_state",)),
        **dict.fromkeys(("convolution",), ("conv",)),
        **dict.fromkeys(("upsample", "interpolate"), ("resize",)),
        **dict.fromkeys(("depthtospace", "subpixel"), ("pixel_shuffle",)),
        **dict.fromkeys(("stochasticdepth",), ("drop_path",)),
        **dict.fromkeys(("adaptiveavgpool",), ("adaptive_average_pool",)),
        **dict.fromkeys(("squaredrelu", "relu2"), ("relu_squared",)),
        **dict.fromkeys(("entropypenalty",), ("confidence_penalty",)),
        **dict.fromkeys(("skip", "shortcut"), ("residual",)),
        **dict.fromkeys(("scanlayers", "layerstack", "scan"), ("repeat",)),
        **dict.fromkeys(("checkpoint", "rematerialize"), ("remat",)),
        **dict.fromkeys(("mixedprecision", "policy", "amp", "autocast", "dtypepolicy"), ("with_precision",)),
        **dict.fromkeys(("tabulate",), ("summary",)),
        **dict.fromkeys(("sow", "captureintermediates", "intermediates"), ("capture",)),
        "swish": ("silu",),
        "hardswish": ("hard_silu",),
        "lrelu": ("leaky_relu",),
        **dict.fromkeys(("transformer", "bert"), ("transformer_classifier",)),
        **dict.fromkeys(("rnn", "lstm", "gru"), ("rnn", "lstm", "gru", "recurrent_classifier")),
        **dict.fromkeys(("gpt",), ("transformer_language_model",)),
        **dict.fromkeys(("seq2seq", "encoderdecoder", "t5"), ("transformer_encoder_decoder",)),
        **dict.fromkeys(("visiontransformer",), ("vit",)),
        **dict.fromkeys(("ddpm", "diffusion"), ("denoising_loss",)),
        **dict.fromkeys(("vectorquantizer", "vq"), ("quantize", "vq_vae")),
        **dict.fromkeys(("loadstatedict", "statedict", "fromstatedict"), ("from_torch",)),
        **dict.fromkeys(("vgg", "convnet"), ("cnn",)),
        **dict.fromkeys(("feedforward", "ffn"), ("mlp",)),
        **dict.fromkeys(("gan",), ("dense_gan", "convolutional_gan")),
    }
)


def closest(name: str, valid: Iterable[str], *, spelled_so: bool = False) -> str | None:
    """Returns the valid name that was meant; None if no name is like it.

    Capitals, underscores and hyphens do not count, nor what other libraries append; then come names that mean the same
    elsewhere, then what is spelled nearly so.

    Args:
        name: what was given.
        valid: every name that would have been accepted.
        spelled_so: whether names that are only spelled nearly so are left out.

    Example:
        >>> closest("AdamW", ["adam", "adamw"]), closest("lr", ["learning_rate"]), closest("MSELoss", ["squared_error"])
        ('adamw', 'learning_rate', 'squared_error')
    """
    names = sorted(valid)
    plain = _plain(name)
    candidates = list(dict.fromkeys([plain, *(plain.removesuffix(suffix) for suffix in SUFFIXES)]))
    for candidate in candidates if plain else ():
        if candidate and (same := [each for each in names if _plain(each) == candidate]):
            return same[0]
        if known := [each for each in ALIASES.get(candidate, ()) if each in names]:
            return known[0]
    near = [] if spelled_so else difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return near[0] if near else None


def nearest(name: str, valid: Iterable[str]) -> str:
    """Returns a hint for an unknown name: the one that was meant, or what there is.

    Args:
        name: what was given.
        valid: every name that would have been accepted.

    Returns:
        ``"did you mean 'adam'?"``, ``"expected one of 'adam', 'sgd'"``, or of very many some.

    Example:
        >>> nearest("adm", ["adam", "sgd"])
        "did you mean 'adam'?"
    """
    names = sorted(valid)
    meant = closest(name, names)
    if meant is not None:
        return f"did you mean '{meant}'?"
    if not names:
        return "there are none"
    if len(names) > MOST_LISTED:
        alike = difflib.get_close_matches(name, names, n=SHOWN, cutoff=0.0)
        return f"expected one of {len(names)}, such as " + ", ".join(f"'{known}'" for known in sorted(alike))
    return "expected one of " + ", ".join(f"'{known}'" for known in names)


def missing_attribute(module: str, names: Iterable[str], *, note: str = "") -> Callable[[str], Any]:
    """Returns a module's ``__getattr__``: it says which public name was meant.

    Args:
        module: its name.
        names: its public names.
        note: what to know of all of them, for whom another library's name is at hand.

    Example:
        >>> missing_attribute("colours", ["red", "green"])("grean")
        Traceback (most recent call last):
        AttributeError: module 'colours' has no attribute 'grean'; did you mean 'green'?
    """
    known = tuple(names)

    def __getattr__(name: str) -> NoReturn:
        if name.startswith("_"):  # asked by machinery, which wants no hint
            raise AttributeError(f"module '{module}' has no attribute '{name}'", name=name)
        raise AttributeError(f"module '{module}' has no attribute '{name}'; {nearest(name, known)}{note}", name=name)

    return __getattr__


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
