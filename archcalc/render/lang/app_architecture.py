"""What the dashboard's page of one architecture says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "headline": ("{name} has {total} parameters.", "{name} 共有 {total} 个参数。"),
    "active": ("Active per token", "每个词元激活"),
    "all": ("all of them", "全部"),
    "weights": ("Weights in {dtype}", "权重（{dtype}）"),
    "cache": ("KV cache of {tokens} tokens", "KV 缓存（{tokens} 个词元）"),
    "forward": ("Forward pass over {seq} tokens", "前向计算（{seq} 个词元）"),
    "forward_both": (
        "Forward pass over {source_seq} source and {seq} target tokens",
        "前向计算（源 {source_seq}、目标 {seq} 个词元）",
    ),
    "unit_parameters": ("parameters", "个参数"),
    "unit_bytes": ("bytes", "字节"),
    "closed_form": ("Closed form", "闭式公式"),
    "export": ("Export", "导出"),
    "save_report": ("Report (HTML)", "报告（HTML）"),
    "save_json": ("Report (JSON)", "报告（JSON）"),
    "save_spec": ("Spec (YAML)", "规格（YAML）"),
    "view": ("View", "视图"),
    "view_overview": ("Overview", "概览"),
    "view_map": ("Treemap", "矩形树图"),
    "view_diagram": ("Diagram", "结构图"),
    "view_form": ("Edit", "编辑"),
    "view_weights": ("Weights", "权重"),
    "view_layers": ("Layers", "逐层"),
    "view_formulas": ("Formulas", "公式"),
    "view_claims": ("Claims", "公开数字"),
    "view_verify": ("Verify", "验证"),
    "into_0": ("Look into a component", "进入某个部分"),
    "into_1": ("Look into a weight, down to each tensor", "进入某个权重，直到单个张量"),
    "row": ("Figure or weight", "数值或权重"),
    "row_help": (
        "As in the report's JSON (total, attention, flops.forward), or a path: attn.q, layers.3.attn.q.weight, "
        "layers.*.ffn.*. Empty: the figures that people ask for first.",
        "可写 JSON 报告中的名字（total、attention、flops.forward），或路径：attn.q、layers.3.attn.q.weight、"
        "layers.*.ffn.*。留空则显示最常用的数值。",
    ),
    "verify_start": ("Build the model on the meta device and compare", "在 meta 设备上构建模型并比较"),
    "verify_why": (
        "Every stored tensor is compared by name, shape and kind: the numbers above on one side, a PyTorch model built "
        "from the same spec on the other. Nothing is allocated.",
        "逐个张量比较名称、形状与类别：一边是上面的数字，另一边是由同一规格构建的 PyTorch 模型。不分配任何内存。",
    ),
    "verify_runs": ("Building and comparing…", "正在构建并比较…"),
    "against": ("Against transformers too", "同时与 transformers 比较"),
    "against_help": (
        "A third reading: the model that transformers builds of the same architecture, where it has one.",
        "第三种独立解读：若 transformers 有相同架构，则与其构建的模型比较。",
    ),
    "equal": ("Equal: {tensors} tensors, {parameters} parameters.", "一致：{tensors} 个张量，{parameters} 个参数。"),
    "unequal": ("{n} tensors differ.", "{n} 个张量不一致。"),
}
