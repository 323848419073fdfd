"""What `explain` says: figures named as the report's JSON has them, and what each counts."""

from archcalc.render.lang import Sentences

_COMPONENT = ("all of the component {component}", "{component} 部分的全部参数")
_FLOPS = ("forward, all of the component {component}", "前向计算中 {component} 部分的全部 FLOPs")
_COMPONENTS = ("embedding", "position", "attention", "ffn", "mixer", "norm", "head", "other")

_FIGURES: Sentences = {
    "total": ("every stored tensor once", "每个存储的张量计一次"),
    "untied": ("the tied head's matrix counted beside the table", "共享的输出头矩阵在词元表之外另计一次"),
    "active": ("what one token uses, embedding and head included", "单个词元实际用到的参数，含嵌入与输出头"),
    "active_without_input_embedding": (
        "what one token uses beyond its embedding",
        "单个词元用到的参数，不计其输入嵌入",
    ),
    "active_without_embedding_and_head": (
        "what one token uses beyond its embedding and the head",
        "单个词元用到的参数，不计其输入嵌入与输出头",
    ),
    "non_embedding": ("without embedding, positions and head", "不计嵌入、位置编码与输出头"),
    "trainable": ("what training changes", "训练会更新的参数"),
    "frozen": ("stored and counted, not trained", "存储并计入，但不训练"),
    "buffers": ("stored beside the parameters, in no total", "与参数一同存储，不计入任何总数"),
    "flops.forward": ("every key that a layer holds is multiplied", "每一层持有的所有键都参与相乘"),
    "flops.forward_causal": ("only the pairs that are attended", "只计真正被注意到的查询–键对"),
    "flops.backward": (
        "each product twice: for its input's gradient and its weight's",
        "每个矩阵乘法计两次：求输入的梯度与求权重的梯度",
    ),
    "flops.train_step": ("forward and backward", "前向与反向之和"),
    "memory.weights_bytes": ("all parameters in {dtype}, {bytes} each", "全部参数以 {dtype} 存储，每个 {bytes}"),
    "memory.kv_cache_bytes": (
        "all keys and values kept, in {dtype}, {bytes} each",
        "保留的全部键与值以 {dtype} 存储，每个 {bytes}",
    ),
    "memory.state_bytes": ("the state of recurrent layers", "循环层的状态"),
    "memory.activations_bytes": (
        "what autograd keeps of a training step, eagerly",
        "逐算子执行（eager）时，自动求导为一个训练步保留的数据",
    ),
    **dict.fromkeys(_COMPONENTS, _COMPONENT),
    **dict.fromkeys((f"flops.{component}" for component in _COMPONENTS), _FLOPS),
}

_ATOMS: Sentences = {
    "keys.formula": ("seq + past", "seq + past"),
    "keys.windowed": ("seq + min(past, {w} − 1)", "seq + min(past, {w} − 1)"),
    "keys": ("tokens that a layer holds, the new ones added", "一层所持有的词元数，含新词元"),
    "cached.formula": ("seq + past", "seq + past"),
    "cached.windowed": ("min(seq + past, {w})", "min(seq + past, {w})"),
    "cached": ("tokens that a layer keeps for the next step", "一层为下一步保留的词元数"),
    "pairs.formula": ("seq·past + seq·(seq + 1)/2", "seq·past + seq·(seq + 1)/2"),
    "pairs.windowed": ("sum of min(past + t, {w}) over t = 1 … seq", "min(past + t, {w}) 对 t = 1 … seq 求和"),
    "pairs": ("pairs of a query and a key that are attended", "被注意到的查询–键对数"),
    "near.windowed": (
        "sum of min(t, {w}) + min(seq − t + 1, {w}) − 1 over t = 1 … seq",
        "min(t, {w}) + min(seq − t + 1, {w}) − 1 对 t = 1 … seq 求和",
    ),
    "near": ("pairs of tokens less than a window apart", "相距小于一个窗口的词元对数"),
    "source_near.windowed": (
        "sum of min(t, {w}) + min(source_new − t + 1, {w}) − 1 over t = 1 … source_new",
        "min(t, {w}) + min(source_new − t + 1, {w}) − 1 对 t = 1 … source_new 求和",
    ),
    "source_near": ("pairs of the source's tokens less than a window apart", "源序列中相距小于一个窗口的词元对数"),
    "source_new.formula": ("source_seq if past = 0, else 0", "past = 0 时为 source_seq，否则为 0"),
    "source_new": ("tokens of the source that are read now", "此刻读入的源序列词元数"),
}

WORDS: Sentences = {
    "subtitle": ("{name}: how each figure comes about", "{name}：每个数字的由来"),
    "titled": ("{name}: {meaning}", "{name}：{meaning}"),
    "flops_and_memory": ("FLOPs and memory", "FLOPs 与内存"),
    "dimensions": ("Dimensions", "维度"),
    "workload": ("Workload", "工作负载"),
    "named": ("{name}: {formula}", "{name}：{formula}"),
    "terms": ("a sum of {n} terms", "{n} 项之和"),
    "none": ("0: the model has none", "0：该模型没有这一部分"),
    "byte": ("{n} byte", "{n} 字节"),
    "bytes": ("{n} bytes", "{n} 字节"),
    "axes": ("axes", "各轴"),
    "causal_axes": ("causal axes", "因果掩码下的各轴"),
    "cache_axes": ("axes of each sequence", "每个序列的各轴"),
    "each": ("each: {formula}", "每个：{formula}"),
    "over_layer": ("over {n} layer", "共 {n} 层"),
    "over_layers": ("over {n} layers", "共 {n} 层"),
    "elements": ("elements {over}: {formula}", "元素数（{over}）：{formula}"),
    "active_part": ("active: {formula}", "激活部分：{formula}"),
    "causal": ("causal: {formula}", "因果：{formula}"),
    "in_dtype": ("in {dtype}: {formula}", "以 {dtype} 存储：{formula}"),
    "share": ("{percent:.4f} % of {whole}", "占 {whole} 的 {percent:.4f} %"),
    "tied": (
        "tied: stored once, as the token table; counted only where the head is counted apart (untied)",
        "权重共享：只存储一次，即词元表；仅在输出头单独计数（untied）时才计入",
    ),
    "buffer": ("a buffer: stored, but in no total", "缓冲区：有存储，但不计入任何总数"),
    "weight": ("{name}: {component}, {kind}", "{name}：{component}，{kind}"),
    "product": ("{name}: {component}, product, FLOPs", "{name}：{component}，矩阵乘法，FLOPs"),
    "cache": ("{name}: cache, bytes", "{name}：缓存，字节"),
    "part.weights": ("weights", "权重"),
    "part.biases": ("biases", "偏置"),
    "part.tokens_by_weights": ("tokens by weights", "词元 × 权重"),
    "part.tokens_by_tokens": ("tokens by tokens", "词元 × 词元"),
    "part.others": ("others", "其余"),
    **{f"figure.{name}": both for name, both in _FIGURES.items()},
    **{f"atom.{name}": both for name, both in _ATOMS.items()},
}
