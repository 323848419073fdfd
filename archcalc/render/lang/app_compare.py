"""What the dashboard's page of comparison says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "models": ("Presets to compare", "要对比的预设"),
    "own": ("With the architecture above: {name}", "包括上方的架构：{name}"),
    "how_many": (
        "Two to six architectures can be compared; {n} chosen.",
        "可对比两到六个架构；当前选择了 {n} 个。",
    ),
    "view": ("View", "视图"),
    "view_table": ("Table", "表格"),
    "view_bars": ("Bars", "条形图"),
    "view_costs": ("Costs of a workload", "工作负载的开销"),
    "view_diff": ("What differs", "差异"),
    "of": ("Length of a bar", "条形长度"),
    "of_count": ("Parameters", "参数量"),
    "of_share": ("Share of the model", "占模型的比例"),
    "scale": ("Scale", "刻度"),
    "scale_linear": ("Linear", "线性"),
    "scale_log": ("Logarithmic", "对数"),
    "dtype": ("Weights and caches stored as (dtype)", "权重与缓存格式（dtype）"),
    "left": ("From", "从"),
    "right": ("To", "到"),
    "file": (
        "{file} is the architecture above with its changed fields, as its page saves it.",
        "{file} 是上方架构及其修改的字段，可在架构页面保存。",
    ),
}
