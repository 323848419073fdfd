"""What `demo` says: for each demonstration a title, what to see in it, and its tables' headings."""

from archcalc.render.lang import Sentences

_SOFTMAX: Sentences = {
    "title": ("From logits to a choice", "从 logit 到选择"),
    "see": (
        "Softmax makes probabilities of any numbers: each in (0, 1), their sum 1, their order kept, gaps widened. "
        "Argmax takes the largest; sampling takes each as often as its probability says. A low temperature comes near "
        "to argmax, a high one to even odds. Of two logits softmax is the logistic function of their difference.",
        "softmax 把任意数变成概率：每个都在 (0, 1) 之内，总和为 1，次序不变，差距拉大。argmax 只取最大者；"
        "抽样则按概率决定每个词元出现的频率。温度低则接近 argmax，温度高则接近均匀分布。"
        "只有两个 logit 时，softmax 就是其差值的 logistic 函数。",
    ),
    "stages": ("Stage by stage", "逐步计算"),
    "drawn": ("drawn, of {n:,}", "{n:,} 次抽样的频率"),
    "sum": ("sum", "总和"),
    "by_hand": ("softmax(z) = exp(z) / sum of exp: {equations}", "softmax(z) = exp(z) / exp 之和：{equations}"),
    "temperature": ("Temperature: softmax(z / T)", "温度：softmax(z / T)"),
    "p": ("p of token {n}", "词元 {n} 的 p"),
    "entropy": ("entropy, nats", "熵，奈特"),
    "logistic_formula": (
        "softmax({a}, {b}) = {p:.4f}, {q:.4f}; logistic({a} − {b}) = 1 / (1 + exp(−{x})) = {logistic:.4f}",
        "softmax({a}, {b}) = {p:.4f}, {q:.4f}；logistic({a} − {b}) = 1 / (1 + exp(−{x})) = {logistic:.4f}",
    ),
}

_DROPOUT: Sentences = {
    "title": ("Dropout in training and at inference", "训练时与推理时的 dropout"),
    "see": (
        "In training a value is dropped with probability p, and what stays is scaled by 1/(1 − p): no draw is the "
        "vector itself, but their mean is. So nothing has to be scaled at inference, where dropout does nothing.",
        "训练时，每个值以概率 p 被丢弃，留下的乘以 1/(1 − p)：任何一次抽样都不等于原向量，但其均值等于它。"
        "因此推理时无需任何缩放，dropout 完全不起作用。",
    ),
    "table": (
        "A feed-forward network's output on its way into the residual stream, p = {p}, 1/(1 − p) = {scale:.4f}",
        "前馈网络的输出在加入残差流之前，p = {p}，1/(1 − p) = {scale:.4f}",
    ),
    "entry": ("entry", "分量"),
    "inference": ("inference", "推理"),
    "training": ("train {n}", "训练 {n}"),
    "mean": ("mean of {n:,}", "{n:,} 次的均值"),
    "deviation": ("± by theory", "理论标准差"),
    "formula": (
        "x is kept with probability 1 − p: the expectation is (1 − p) · x / (1 − p) = x",
        "x 以概率 1 − p 保留：期望为 (1 − p) · x / (1 − p) = x",
    ),
    "share": ("dropped in all draws: {share:.2f} %", "全部抽样中被丢弃的比例：{share:.2f} %"),
}

_POSITIONS: Sentences = {
    "title": ("Without positions, order is lost", "没有位置编码，就没有次序"),
    "see": (
        "Attention is a weighted sum over a set. Without positions, swapping the two tokens before the last one "
        "changes nothing at all after it; with them it does. A causal mask tells the order too, but only from the "
        "second layer on: there the first token has seen one token, and the second two.",
        "注意力是对一个集合的加权求和。没有位置编码时，交换最后一个词元之前的两个词元，其后的结果毫无变化；"
        "有位置编码则不同。因果掩码也会透露次序，但要从第二层开始：那时第一个词元只见过一个词元，第二个见过两个。",
    ),
    "table": (
        "The first logit after {a} and after {b}, and the largest difference of them all",
        "{a} 与 {b} 之后的首个 logit，以及所有 logit 中的最大差值",
    ),
    "model": ("model", "模型"),
    "layers": ("layers", "层数"),
    "difference": ("largest difference", "最大差值"),
    "same": ("same", "相同"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "case.none": ("decoder without positions", "无位置编码的解码器"),
    "case.learned": ("… with learned positions", "……使用可学习的位置编码"),
    "case.rope": ("… with rotary positions", "……使用旋转位置编码"),
    "case.encoder": ("encoder without positions", "无位置编码的编码器"),
    "case.mask": ("decoder without positions", "无位置编码的解码器"),
}

_STEP: Sentences = {
    "title": ("One training step by hand", "手算一个训练步"),
    "see": (
        "The gradient of the loss with respect to the logits is what the model said less what is right, p − y. From it "
        "follow the gradients of the head; one step against them raises the right token's probability, and the loss "
        "falls. Autograd finds the same.",
        "损失对 logit 的梯度就是模型所说的减去正确答案：p − y。由它可得输出头的梯度；"
        "沿其反方向走一步，正确词元的概率上升，损失下降。自动求导得出同样的结果。",
    ),
    "table": ("{prompt} → {target}: before the step, and after it", "{prompt} → {target}：更新之前与之后"),
    "autograd": ("autograd", "自动求导"),
    "new_z": ("z after", "更新后的 z"),
    "new_p": ("p after", "更新后的 p"),
    "steps": ("The step", "计算步骤"),
    "state": ("h, the last state: {h}", "h，最后的状态：{h}"),
    "loss": ("loss = −ln p({target}) = −ln {p:.4f} = {loss:.4f}", "损失 = −ln p({target}) = −ln {p:.4f} = {loss:.4f}"),
    "gradients": (
        "∂loss/∂z = p − y; ∂loss/∂W = (p − y)·hᵀ; ∂loss/∂b = p − y; ∂loss/∂h = Wᵀ·(p − y)",
        "∂损失/∂z = p − y；∂损失/∂W = (p − y)·hᵀ；∂损失/∂b = p − y；∂损失/∂h = Wᵀ·(p − y)",
    ),
    "apart": (
        "largest difference from autograd's: z {logits:.1e}, W {weight:.1e}, b {bias:.1e}, h {state:.1e}",
        "与自动求导的最大差值：z {logits:.1e}，W {weight:.1e}，b {bias:.1e}，h {state:.1e}",
    ),
    "update": (
        "W ← W − {rate} · ∂loss/∂W, b ← b − {rate} · ∂loss/∂b; learning rate {rate}",
        "W ← W − {rate} · ∂损失/∂W，b ← b − {rate} · ∂损失/∂b；学习率 {rate}",
    ),
    "new_loss": (
        "new loss = −ln {p:.4f} = {loss:.4f}; the module says {module:.4f}",
        "新的损失 = −ln {p:.4f} = {loss:.4f}；模块给出 {module:.4f}",
    ),
    "expected": (
        "changed by {change:.4f}; −{rate} · |gradient|² = {expected:.4f} if the loss were a straight line",
        "变化 {change:.4f}；若损失为直线，应为 −{rate} · |梯度|² = {expected:.4f}",
    ),
}

_COST: Sentences = {
    "title": ("Cost against length", "计算量与长度"),
    "see": (
        "The feed-forward network costs the same for every token. Attention's projections do too, but its scores and "
        "values meet every token of the text: what a token costs grows with the length, what the text costs with its "
        "square, and attention overtakes.",
        "前馈网络对每个词元的计算量相同。注意力的投影也是如此，但它的打分与加权求和要面对文本中的每个词元："
        "每个词元的计算量随长度增长，整段文本的则随长度的平方增长，终将超过前馈网络。",
    ),
    "table": (
        "{model}: forward FLOPs of a token, by the length of the prefill",
        "{model}：每个词元的前向 FLOPs，按预填充长度",
    ),
    "tokens": ("tokens", "词元数"),
    "attention": ("attention", "注意力"),
    "ffn": ("feed-forward", "前馈网络"),
    "share": ("attention's share", "注意力占比"),
    "crossings": ("Where attention overtakes", "注意力何时超过前馈网络"),
    "crossing": ("at {n:,} tokens, every key multiplied", "所有键都参与相乘：{n:,} 个词元"),
    "crossing_causal": ("at {n:,} tokens, only attended pairs counted", "只计被注意到的查询–键对：{n:,} 个词元"),
}

WORDS: Sentences = {
    "list": ("Demonstrations", "演示"),
    "list_subtitle": ("archcalc demo NAME, each computed as it is shown", "archcalc demo NAME，每个都在展示时即时计算"),
    "name": ("name", "名称"),
    "shows": ("what it shows", "内容"),
    "what": ("What to see", "看什么"),
    "seeded": (
        "computed just now by archcalc's own modules, in float64, seed {seed}: measured",
        "由 archcalc 自己的模块即时计算，float64，随机种子 {seed}：实测",
    ),
    "exact": ("summed from the ledger: exact", "由账本逐项相加：精确"),
    **{f"softmax.{name}": both for name, both in _SOFTMAX.items()},
    **{f"dropout.{name}": both for name, both in _DROPOUT.items()},
    **{f"positions.{name}": both for name, both in _POSITIONS.items()},
    **{f"step.{name}": both for name, both in _STEP.items()},
    **{f"cost.{name}": both for name, both in _COST.items()},
}
