"""Words that pages share: how a number is known, the parts of a model."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "exact": ("exact", "精确"),
    "measured": ("measured", "实测"),
    "modelled": ("modelled", "估算"),
    "token": ("token", "词元"),
    "id": ("id", "编号"),
    "probability": ("probability", "概率"),
    "logit": ("logit", "logit"),
    "with": ("with {relations}", "其中 {relations}"),
    "component.embedding": ("embedding", "嵌入（embedding）"),
    "component.position": ("position", "位置编码（position）"),
    "component.attention": ("attention", "注意力（attention）"),
    "component.ffn": ("ffn", "前馈网络（ffn）"),
    "component.mixer": ("mixer", "混合器（mixer）"),
    "component.norm": ("norm", "归一化（norm）"),
    "component.head": ("head", "输出头（head）"),
    "component.other": ("other", "其他（other）"),
    "kind.trainable": ("trainable", "可训练"),
    "kind.frozen": ("frozen", "冻结"),
    "kind.buffer": ("buffer", "缓冲区"),
}
