"""What the form says that builds an architecture by hand; the fields' meanings are in `fields`."""

from archcalc.render.lang import Sentences

WORDS: Sentences = {
    "section": ("Part of the model", "模型的部分"),
    "none": ("none", "无"),
    "stated": ("stated", "有"),
    "first": ("model", "总体"),
    "item": ("{n}: {name}", "{n}：{name}"),
    "add": ("Add", "添加"),
    "double": ("Duplicate", "复制"),
    "remove": ("Remove", "删除"),
    "up": ("Move up", "上移"),
    "down": ("Move down", "下移"),
    "which": ("{name}: which one", "{name}：第几个"),
    "elsewhere": ("{place}: {message}", "{place}：{message}"),
    "go": ("Show the field", "前往该字段"),
    "apart": (
        "Not in this form: {fields}. They stay as they are; paste YAML to change them.",
        "此表单不含：{fields}。它们保持不变；如需修改，请粘贴 YAML。",
    ),
}
