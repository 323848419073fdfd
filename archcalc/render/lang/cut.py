"""What the chart of a distribution and its cuts says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "title": ("What could come here", "此处可能出现的词元"),
    "kept": (
        "{n} tokens may be drawn: they have {kept} of the probability before the cuts",
        "可抽取 {n} 个词元：它们占截断前概率的 {kept}",
    ),
    "came": ("what came: {token}, {p} likely as drawn now", "实际出现：{token}，按当前设置的概率为 {p}"),
    "drawn": ("may be drawn", "可抽取"),
    "cut": ("cut", "被截断"),
    "model": ("the model's own", "模型原始概率"),
    "this": ("this came", "实际出现"),
    "axis": ("probability: bars as drawn, ticks the model's own", "概率：条形为抽取概率，刻线为模型原始概率"),
    "of": ("is", "状态"),
}
