"""What the treemap of parameters says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "all": ("Where the parameters are", "参数分布"),
    "sum": ("{n} parameters, exact; {share} of the model", "{n} 个参数（精确），占模型的 {share}"),
    "name": ("tensor", "张量"),
    "component": ("component", "部分"),
    "shape": ("shape", "形状"),
    "axes": ("axes", "轴"),
    "parameters": ("parameters", "参数量"),
    "share": ("share of what is shown", "占所示部分的比例"),
}
