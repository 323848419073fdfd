"""What `next` says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "title": ("{model}: which token comes next", "{model}：下一个词元"),
    "subtitle": ("{how}; measured, the softmax in float64", "{how}；实测，softmax 以 float64 计算"),
    "plain": ("the model's own distribution", "模型自身的分布"),
    "drawn": ("drawn with {settings}", "抽样设置 {settings}"),
    "contexts": ("Contexts", "上下文"),
    "context": ("{name}: {text} ({n} tokens)", "{name}：{text}（{n} 个词元）"),
    "next": ("The next token", "下一个词元"),
    "rank": ("rank", "名次"),
    "own": ("model's own", "模型自身概率"),
    "p": ("p in {name}", "{name} 的概率"),
    "rank_in": ("rank in {name}", "{name} 的名次"),
    "own_in": ("model's own in {name}", "{name} 的模型自身概率"),
    "figures": ("The distributions", "分布"),
    "figure": ("figure", "数字"),
    "entropy_nats": ("entropy, nats", "熵，奈特"),
    "entropy_bits": ("entropy, bits", "熵，比特"),
    "model_entropy_nats": ("entropy of the model's own, nats", "模型自身分布的熵，奈特"),
    "n_kept": ("tokens that may be drawn, of {n:,}", "可能被抽到的词元数（共 {n:,} 个）"),
    "kept": ("their probability before the cut", "它们在截断之前的概率"),
    "apart": ("Between {a} and {b}", "{a} 与 {b} 之间"),
    "total_variation": (
        "total variation {value}: 0 where they are alike, 1 where they share no token",
        "全变差距离 {value}：两者相同为 0，没有共同词元为 1",
    ),
    "kl": ("KL({a}‖{b}) = {value} nats", "KL({a}‖{b}) = {value} 奈特"),
}
