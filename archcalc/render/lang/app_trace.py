"""What the dashboard's page of a forward pass says."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "about": (
        "A real forward pass of a small model, step by step: every number is the model's own, measured; every formula "
        "is exact.",
        "小模型的一次真实前向计算，逐步展开：每个数值都由模型本身算出（实测），每条公式都是精确的。",
    ),
    "from": ("Weights", "权重"),
    "from_weights": ("Trained", "已训练"),
    "from_random": ("Random", "随机"),
    "model": ("Model", "模型"),
    "seed": ("Seed", "种子"),
    "prompt": ("Prompt", "提示文本"),
    "prompt_help": (
        "Empty: the published prompt of the worked example, or a few words where there is none.",
        "留空：使用示例所印的提示文本；没有示例时用几个默认的词。",
    ),
    "ids": ("Or token ids", "或词元编号"),
    "ids_help": ("As on the command line: 0,1,2", "写法与命令行相同：0,1,2"),
    "making": ("Loading and tracing…", "正在加载并追踪…"),
    "stopped": ("Stopped.", "已停止。"),
    "again": ("Trace it after all", "重新追踪"),
    "reads": ("It reads:", "输入："),
    "position": ("Position that is looked at", "查看的位置"),
    "view": ("View", "视图"),
    "view_stages": ("Step by step", "逐步"),
    "view_attention": ("Attention and softmax", "注意力与 softmax"),
    "view_next": ("What comes next", "下一个词元"),
    "part": ("Part", "部分"),
    "stage": ("Step, of {n}", "步骤（共 {n} 步）"),
    "back": ("Previous", "上一步"),
    "on": ("Next", "下一步"),
    "before": ("Before: what it reads", "之前：读入"),
    "after": ("After: what it makes", "之后：得到"),
    "reads_nothing": ("Nothing that was computed before.", "不读取之前计算的任何值。"),
    "tables": ("Tables too", "同时显示表格"),
    "head": ("Head", "头"),
    "first_head": ("Heads from here on, {n} at once", "从此头起，一次 {n} 个"),
    "start": ("Dimensions from here on", "从此维起"),
    "attention": ("Attention", "注意力"),
    "no_attention": ("This model has no attention with a softmax.", "该模型没有带 softmax 的注意力。"),
    "no_head": ("This model has no head: it says no next token.", "该模型没有输出头，不预测下一个词元。"),
    "reading": (
        "Queries down, keys across: each row is where one place looks, in shares that sum to 1.",
        "纵向为查询，横向为键：每行是一个位置看向各处的份额，和为 1。",
    ),
    "mask": (
        "A hatched, grey cell is masked: the causal mask, or a window, hides that key from that query. This is not a "
        "share of zero that was computed: its score is −∞, so it takes no part in the softmax.",
        "灰色斜线格被遮住：因果掩码（或窗口）不让该查询看到这个键。这不是算出来的零份额：分数为 −∞，不参与 softmax。",
    ),
    "query": ("Query, by its place", "查询（按位置）"),
    "query_is": ("Query {token}; a column is a key.", "查询 {token}；每列是一个键。"),
    "hidden": (
        "Masked: {keys}. The causal mask, or a window, hides these keys from this query: their scores are −∞ and they "
        "take no part in the softmax.",
        "被遮住：{keys}。因果掩码（或窗口）不让该查询看到这些键：分数为 −∞，不参与 softmax。",
    ),
    "sees_all": ("Nothing is masked: this query sees every key.", "没有遮挡：该查询可以看到所有键。"),
    "target": ("Target token, by its id", "目标词元（编号）"),
    "target_is": ("{token}: probability {p}, rank {rank}.", "{token}：概率 {p}，排名 {rank}。"),
    "files": ("The whole trace as one file:", "整个追踪保存为一个文件："),
}
