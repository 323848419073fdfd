"""What the dashboard's pages share: their names, the chooser on top, what saves and copies."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "page_architecture": ("Architecture", "架构"),
    "page_compute": ("Compute and memory", "计算与显存"),
    "page_compare": ("Compare", "对比"),
    "page_run": ("Run", "运行"),
    "page_trace": ("Trace", "追踪"),
    "from": ("Architecture from", "架构来源"),
    "from_preset": ("Preset", "预设"),
    "from_text": ("YAML or config.json", "YAML 或 config.json"),
    "from_file": ("Upload", "上传"),
    "preset": ("Preset", "预设"),
    "text": ("A spec as YAML, or a Hugging Face config.json", "YAML 规格，或 Hugging Face 的 config.json"),
    "text_help": (
        "Ctrl+Enter reads it. `base: gpt3` with the fields that differ will do.",
        "按 Ctrl+Enter 读取。也可以只写 `base: gpt3` 和有差异的字段。",
    ),
    "text_too_long": (
        "{size} bytes: more than the {limit} that go into the link, so a reload of the link will not bring it back.",
        "{size} 字节，超过链接可容纳的 {limit} 字节：重新打开链接不会恢复此文本。",
    ),
    "text_empty": ("Paste a spec above.", "请在上方粘贴规格。"),
    "file": ("A spec (.yaml) or a config.json, up to {limit} MB", "规格（.yaml）或 config.json，最大 {limit} MB"),
    "file_apart": (
        "A file that you upload is no part of the link: it stays in this session.",
        "上传的文件不会进入链接，只保留在本次会话中。",
    ),
    "file_none": ("Choose a file above.", "请在上方选择文件。"),
    "set": ("Changed fields", "修改的字段"),
    "set_help": (
        "As on the command line after --set: n_layers=48 ffn.bias=true. The form below writes them here.",
        "写法与命令行 --set 相同：n_layers=48 ffn.bias=true。下方表单会写入此处。",
    ),
    "same": ("The same on the command line and in Python", "命令行与 Python 的等价写法"),
    "save_chart": ("Save the chart", "保存图表"),
    "save_table": ("Save the table", "保存表格"),
    "save_page": ("Save all of it", "保存全部"),
    "stop": ("Stop", "停止"),
    "rows": ("{n} rows", "{n} 行"),
}
