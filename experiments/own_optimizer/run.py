"""Does rounding the momentum to its sign beat tuned Adam? Compares an optimizer written here with a registered one."""

import optax

from dlkit import bench


def signed_momentum(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """Steps of size `learning_rate` along the sign of an average of gradients."""
    return optax.chain(optax.ema(momentum), optax.scale_by_sign(), optax.scale_by_learning_rate(learning_rate))


mine = bench.Optimizer(
    "signed-momentum",
    signed_momentum,
    {"learning_rate": bench.log_uniform(1e-5, 1e-1), "momentum": bench.one_minus_log_uniform(0.5, 0.99)},
)
result = bench.compare(
    problems=["digits-mlp"],
    optimizers=["adam", mine],
    budget=bench.Budget(steps=600),  # 10 studies, each of 4 tuning points and 2 fresh seeds
    folder="runs/own-optimizer",
)
print(result)
print("report:", result.report("runs/own-optimizer/report.html"))
