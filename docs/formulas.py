r"""What public functions compute, as LaTeX: the reference shows each formula under its function's first sentence.

Letters are those of the docstrings: x an input, p a prediction, t a target, s a score, w weights. sigma is the sigmoid.
"""

from collections.abc import Mapping

__all__ = ["FORMULAS"]

ACTIVATIONS = {
    "identity": r"x",
    "relu": r"\max(x, 0)",
    "relu_squared": r"\max(x, 0)^2",
    "relu6": r"\min(\max(x, 0), 6)",
    "leaky_relu": r"\begin{cases} x & x \ge 0 \\ a\,x & x < 0 \end{cases} \qquad a = \mathtt{negative\_slope}",
    "prelu": r"\begin{cases} x & x \ge 0 \\ a\,x & x < 0 \end{cases} \qquad a = \mathtt{negative\_slope}",
    "elu": r"\begin{cases} x & x > 0 \\ \alpha\,(e^x - 1) & x \le 0 \end{cases}",
    "selu": r"1.0507 \begin{cases} x & x > 0 \\ 1.6733\,(e^x - 1) & x \le 0 \end{cases}",
    "celu": r"\max(x, 0) + \alpha \left(e^{\min(x, 0) / \alpha} - 1\right)",
    "sigmoid": r"\sigma(x) = \frac{1}{1 + e^{-x}}",
    "log_sigmoid": r"\log \sigma(x) = -\log(1 + e^{-x})",
    "hard_sigmoid": r"\frac{\min(\max(x + 3, 0), 6)}{6}",
    "hard_silu": r"x \, \frac{\min(\max(x + 3, 0), 6)}{6}",
    "tanh": r"\frac{e^x - e^{-x}}{e^x + e^{-x}}",
    "hard_tanh": r"\min(\max(x, -1), 1)",
    "softsign": r"\frac{x}{1 + |x|}",
    "gelu": r"x \, \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt{2}}\right)",
    "silu": r"x \, \sigma(x) = \frac{x}{1 + e^{-x}}",
    "mish": r"x \, \tanh(\log(1 + e^x))",
    "softplus": r"\log(1 + e^x)",
    "squareplus": r"\frac{x + \sqrt{x^2 + b}}{2}",
    "softmax": r"\frac{e^{x_i}}{\sum_j e^{x_j}}",
    "log_softmax": r"x_i - \log \sum_j e^{x_j}",
    "gumbel_softmax": r"\mathrm{softmax}\left(\frac{x + g}{\mathtt{temperature}}\right) \qquad "
    r"g \sim \mathrm{Gumbel}(0, 1)",
    "glu": r"a \, \sigma(b) \qquad (a, b) = x",
    "sparsemax": r"\operatorname{argmin}_p \|p - x\|^2 \qquad p_i \ge 0, \; \sum_i p_i = 1",
    "geglu": r"a \, \Phi(a) \, b \qquad (a, b) = x",
    "swiglu": r"a \, \sigma(a) \, b \qquad (a, b) = x",
}

LOSSES = {
    "cross_entropy": r"-\sum_c w_c \, t_c \log \frac{e^{x_c}}{\sum_j e^{x_j}}",
    "binary_cross_entropy": r"-w \, t \log \sigma(x) - (1 - t) \log \sigma(-x)",
    "focal": r"-q^\gamma \left(t \log \sigma(x) + (1 - t) \log \sigma(-x)\right)"
    r"\qquad q = (1 - t)\,\sigma(x) + t\,(1 - \sigma(x))",
    "hinge": r"\max(0, 1 - t \, s)",
    "squared_hinge": r"\max(0, 1 - t \, s)^2",
    "multiclass_hinge": r"\max\left(0, 1 + \max_{c \ne t} s_c - s_t\right)",
    "kl_divergence": r"\sum_c t_c \, (\log t_c - \log p_c)",
    "reverse_kl_divergence": r"\sum_c p_c \, (\log p_c - \log t_c)",
    "jensen_shannon": r"\frac{1}{2} \sum_c \left(p_c \log \frac{p_c}{m_c} + t_c \log \frac{t_c}{m_c}\right)"
    r"\qquad m = \frac{p + t}{2}",
    "kl_divergence_normal": r"\frac{1}{2} \sum_i \left(m_i^2 + v_i - 1 - \log v_i\right)",
    "gaussian_nll": r"\frac{1}{2} \left(\log v + \frac{(t - m)^2}{v}\right)",
    "poisson_nll": r"e^r - t \, r",
    "squared_error": r"(p - t)^2",
    "absolute_error": r"|p - t|",
    "huber": r"\begin{cases} z^2 / 2 & |z| \le \delta \\ \delta \, (|z| - \delta / 2) & |z| > \delta \end{cases}"
    r"\qquad z = p - t",
    "log_cosh": r"\log \cosh(p - t)",
    "quantile": r"\max(q \, (t - p), (q - 1)(t - p)) \qquad q = \mathtt{level}",
    "ctc": r"-\log \sum_{a \in A} \prod_i \mathrm{softmax}(x_i)_{a_i} \qquad A: \text{alignments with the labels}",
    "cosine_distance": r"1 - \frac{p \cdot t}{\|p\| \, \|t\|}",
    "triplet": r"\max(0, \|a - p\| - \|a - n\| + \mathtt{margin})",
    "info_nce": r"-\log \frac{e^{\cos(q_i, k_i) / \tau}}{\sum_j e^{\cos(q_i, k_j) / \tau}}"
    r"\qquad \tau = \mathtt{temperature}",
    "cox": r"\log \sum_{j: t_j \ge t_i} e^{r_j} - r_i",
    "linear_cross_entropy": r"\log \sum_c e^{(x W + b)_c} - (x W + b)_t",
    "distillation": r"T^2 \sum_c u_c \, (\log u_c - \log p_c) \qquad u = \mathrm{softmax}(\mathrm{teacher} / T), \;"
    r" p = \mathrm{softmax}(x / T)",
    "z_loss": r"\left(\log \sum_c e^{x_c}\right)^2",
    "dice": r"1 - \frac{2 \sum_i p_i \, t_i + s}{\sum_i p_i + \sum_i t_i + s} \qquad "
    r"p = \sigma(x), \; s = \mathtt{smoothing}",
    "multiclass_dice": r"1 - \frac{2 \sum_i p_{i c} \, t_{i c} + s}{\sum_i p_{i c} + \sum_i t_{i c} + s} \qquad "
    r"p = \mathrm{softmax}(x), \; s = \mathtt{smoothing}",
    "multiclass_focal": r"-w_t \, (1 - p_t)^\gamma \log p_t \qquad p = \mathrm{softmax}(x)",
    "ordinal": r"-\sum_{k < t} \log \sigma(x_k) - \sum_{k \ge t} \log \sigma(-x_k)",
    "nt_xent": r"-\log \frac{e^{\cos(z_i, z_{p(i)}) / \tau}}{\sum_{j \ne i} e^{\cos(z_i, z_j) / \tau}}"
    r"\qquad \tau = \mathtt{temperature}",
    "supervised_contrastive": r"-\frac{1}{|P(i)|} \sum_{p \in P(i)} "
    r"\log \frac{e^{\cos(z_i, z_p) / \tau}}{\sum_{a \ne i} e^{\cos(z_i, z_a) / \tau}} "
    r"\qquad \tau = \mathtt{temperature}",
    "list_net": r"-\sum_i \mathrm{softmax}(t)_i \log \mathrm{softmax}(s)_i",
    "list_mle": r"\sum_i \left(\log \sum_{j \ge i} e^{s_j} - s_i\right)",
    "student_t_nll": r"\log s + \frac{n + 1}{2} \log\left(1 + \frac{(t - m)^2}{n \, s^2}\right) \qquad "
    r"n = \mathtt{degrees\_of\_freedom}",
    "mixture_nll": r"-\log \sum_k \mathrm{softmax}(x)_k \, e^{-l_k}",
    "maximum_mean_discrepancy": r"\overline{k(x, x')} + \overline{k(y, y')} - 2 \, \overline{k(x, y)} \qquad "
    r"k = e^{-\|x - y\|^2 / (2 h^2)}, \; h = \mathtt{bandwidth}",
    "sinkhorn": r"W(x, y) - \frac{W(x, x) + W(y, y)}{2}",
    "aft": r"\begin{cases} -\log f(t) & \text{an event} \\ -\log S(t) & \text{censored} \end{cases}"
    r"\qquad \log t = m + s \, e",
}

GAN_LOSSES = {
    "minimax": r"\mathrm{discriminator:}\; \log(1 + e^{-r}) + \log(1 + e^{f}) \qquad "
    r"\mathrm{generator:}\; -\log(1 + e^{f})",
    "non_saturating": r"\mathrm{discriminator:}\; \log(1 + e^{-r}) + \log(1 + e^{f}) \qquad "
    r"\mathrm{generator:}\; \log(1 + e^{-f})",
    "least_squares": r"\mathrm{discriminator:}\; \frac{(r - 1)^2}{2} + \frac{f^2}{2} \qquad "
    r"\mathrm{generator:}\; \frac{(f - 1)^2}{2}",
    "hinge": r"\mathrm{discriminator:}\; \max(0, 1 - r) + \max(0, 1 + f) \qquad \mathrm{generator:}\; -f",
    "wasserstein": r"\mathrm{discriminator:}\; -r + f \qquad \mathrm{generator:}\; -f",
    "gradient_penalty": r"\left(\|\nabla D(x)\| - \mathtt{target}\right)^2 \qquad "
    r"x = e \, r + (1 - e) \, f, \; e \sim U[0, 1]",
    "r1_penalty": r"\|\nabla D(x)\|^2",
}

REGULARIZERS = {
    "dropout": r"y = \frac{x \, m}{1 - \mathtt{rate}} \qquad m \sim \mathrm{Bernoulli}(1 - \mathtt{rate})",
    "gaussian_noise": r"y = x + \mathtt{deviation} \cdot n \qquad n \sim N(0, 1)",
    "label_smoothing": r"(1 - s) \, t + \frac{s}{\mathtt{classes}} \qquad s = \mathtt{smoothing}",
    "mixup": r"\lambda \, a_i + (1 - \lambda) \, a_{p(i)} \qquad \lambda \sim \mathrm{Beta}(\alpha, \alpha)",
    "l1": r"\sum_i |w_i|",
    "l2": r"\sum_i w_i^2",
    "elastic_net": r"\sum_i \left(r \, |w_i| + \frac{1 - r}{2} \, w_i^2\right) \qquad r = \mathtt{l1\_ratio}",
    "group_lasso": r"\sum_g \sqrt{|g|} \, \|w_g\|_2",
    "orthogonality": r"\|W^\top W - I\|_F^2",
    "proximal_l1": r"\mathrm{sign}(w) \max(|w| - s, 0) \qquad s = \mathtt{strength}",
    "proximal_elastic_net": r"\frac{\mathrm{sign}(w) \max(|w| - s \, r, 0)}{1 + s \, (1 - r)} \qquad "
    r"s = \mathtt{strength}, \; r = \mathtt{l1\_ratio}",
    "proximal_group_lasso": r"w_g \max\left(1 - \frac{s \sqrt{|g|}}{\|w_g\|}, 0\right) \qquad s = \mathtt{strength}",
    "max_norm": r"w_g \min\left(1, \frac{\mathtt{limit}}{\|w_g\|}\right)",
}

STANDARDIZED = r"y = \mathtt{scale} \cdot \frac{x - \mathrm{mean}}{\sqrt{\mathrm{var} + \epsilon}} + \mathtt{bias}"

LAYERS = {
    "dense": r"y = x \, W + b",
    "batch_norm": STANDARDIZED,
    "layer_norm": STANDARDIZED,
    "group_norm": STANDARDIZED,
    "instance_norm": STANDARDIZED,
    "rms_norm": r"y = \mathtt{scale} \cdot \frac{x}{\sqrt{\mathrm{mean}(x^2) + \epsilon}}",
    "dot_product_attention": r"\mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{\mathtt{features}}}\right) V",
    "conv": r"y_{p, o} = \sum_t \sum_i x_{p \, s + t \, d, \, i} \, W_{t, i, o} + b_o \qquad "
    r"s = \mathtt{strides}, \; d = \mathtt{dilation}",
    "embedding": r"y = E_{\mathrm{id}}",
    "tied_logits": r"x \, E^\top",
    "learned_positions": r"y_t = x_t + P_t",
    "sinusoidal_positions": r"P_{t, 2i} = \sin \frac{t}{\mathtt{base}^{2i / d}} \qquad "
    r"P_{t, 2i + 1} = \cos \frac{t}{\mathtt{base}^{2i / d}} \qquad d = \mathtt{features}",
    "dropout": r"y = \frac{x \, m}{1 - \mathtt{rate}} \qquad m \sim \mathrm{Bernoulli}(1 - \mathtt{rate})",
    "gaussian_noise": r"y = x + \mathtt{deviation} \cdot n \qquad n \sim N(0, 1)",
    "residual": r"y = f(x) + s(x)",
    "rnn": r"h_t = \mathtt{activation}(x_t W + b + h_{t-1} U) \qquad h_0 = 0",
    "gru": r"h_t = (1 - z) \, n + z \, h_{t-1} \qquad h_0 = 0",
    "lstm": r"c_t = f \, c_{t-1} + i \, g \qquad h_t = o \tanh(c_t) \qquad h_0 = c_0 = 0",
}

FORMULAS: Mapping[str, str] = {
    f"{family}.{name}": formula
    for family, formulas in (
        ("activations", ACTIVATIONS),
        ("losses", LOSSES),
        ("gan_losses", GAN_LOSSES),
        ("regularizers", REGULARIZERS),
        ("layers", LAYERS),
    )
    for name, formula in formulas.items()
}
"""``"family.name"`` -> LaTeX."""
