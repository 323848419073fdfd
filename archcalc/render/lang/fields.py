"""What every part of a spec is, and every field of it: the form's help, and what the JSON Schema describes.

`Part` names a part, `Part.field` its field, `Part.field.value` a choice that the field has.
"""

from archcalc.render.lang import Sentences

_ACTIVATIONS: Sentences = {
    "relu": ("max(0, x)", "max(0, x)，修正线性单元"),
    "relu2": ("relu(x) squared", "relu(x) 的平方"),
    "relu6": ("relu(x), 6 at most", "relu(x)，上限为 6"),
    "leaky_relu": ("x, but 0.01x below 0", "x；小于 0 时为 0.01x"),
    "gelu": ("x times the normal distribution's Φ(x)", "x 乘以正态分布函数 Φ(x)"),
    "gelu_tanh": ("gelu, approximated with tanh", "gelu 的 tanh 近似"),
    "gelu_10": ("gelu, clamped to ±10", "限制在 ±10 之内的 gelu"),
    "quick_gelu": ("gelu, approximated as x·σ(1.702x)", "gelu 的近似 x·σ(1.702x)"),
    "silu": ("x·σ(x), also called swish", "x·σ(x)，又称 swish"),
    "hardswish": ("x · relu6(x + 3) / 6", "x · relu6(x + 3) / 6，swish 的分段近似"),
    "mish": ("x · tanh(ln(1 + eˣ))", "x · tanh(ln(1 + eˣ))，平滑的激活函数"),
    "sigmoid": ("1 / (1 + e⁻ˣ)", "1 / (1 + e⁻ˣ)，S 形函数"),
    "tanh": ("the hyperbolic tangent", "双曲正切"),
    "laplace": ("a normal distribution's Φ, near relu squared (MEGA)", "正态分布函数 Φ，近似 relu 的平方（MEGA）"),
    "sqrt_softplus": ("√ln(1 + eˣ)", "√ln(1 + eˣ)，softplus 的平方根"),
    "clamped_swish": (
        "quick_gelu held to 7 at most (gpt-oss); as a mapping, with numbers of its own",
        "上限为 7 的 quick_gelu（gpt-oss）；写成映射时可另给数值",
    ),
    "identity": ("x itself", "x 本身"),
}
_ACTIVATION = ("the function between the matrices", "两个矩阵之间的激活函数")
_XIELU = (
    "a·x² + x/2 above 0, b·(eˣ − 1 − x) + x/2 below; a and b are learned (Apertus)",
    "大于 0 时为 a·x² + x/2，否则为 b·(eˣ − 1 − x) + x/2；a 与 b 可学习（Apertus）",
)
_DOWN_BIAS = ("a bias on the last matrix; none: as bias", "最后一个矩阵是否带偏置；无：同 bias")
_DOWN_NORM = (
    "a norm of the hidden units before the last matrix; none: none",
    "最后一个矩阵之前对隐藏单元归一化；无：没有",
)
_PROBABILITY = "probability of dropping a value in training, from 0 to below 1: {}"
_EPS = ("added to the variance, so that nothing is divided by 0", "加在方差上的小量，避免除以 0")
_FACTOR = ("how many times longer the context becomes", "上下文长度放大的倍数")
_ORIGINAL = ("tokens of context before the stretch", "放大之前的上下文长度，单位为词元")

_SPEC: Sentences = {
    "": ("one transformer, whole", "一个完整的 Transformer"),
    "name": ("the model's short name, up to 200 characters", "模型的短名，最多 200 个字符"),
    "about": ("what is said about the model; it changes no figure", "关于模型的说明；不影响任何数字"),
    "vocab_size": ("tokens in the vocabulary: rows of the token table", "词表中的词元数，即词元表的行数"),
    "n_ctx": ("context length: the most tokens that the model may see", "上下文长度：模型最多能看到的词元数"),
    "d_model": ("width of the residual stream: numbers for each token", "残差流的宽度：每个词元的数值个数"),
    "embedding": ("how tokens become vectors", "词元如何变成向量"),
    "encoder": ("layers that see the whole text in both directions", "能双向看到全文的各层"),
    "decoder": ("layers that see only what comes before, and predict", "只能看到前文并作预测的各层"),
    "head": (
        "from the last state to a score for each token; none: no head",
        "从最后的状态到每个词元的得分；无：没有输出头",
    ),
    "pooler": (
        "a dense layer on the first token's last state; none: none",
        "对第一个词元最后状态的全连接层；无：没有",
    ),
    "extras": ("tensors that the model's class holds and no logits use", "模型类持有但 logits 不使用的张量"),
    "dropout": ("what training drops at random, by place", "训练时各处随机丢弃的比例"),
}
_ABOUT: Sentences = {
    "": ("what is said about the model; it changes no figure", "关于模型的说明；不影响任何数字"),
    "title": ("the model's name as pages show it; empty: the short name", "页面上显示的模型名；留空则用短名"),
    "source": ("where the figures come from: one source, or several", "各项数据的出处，一个或多个"),
    "note": ("a remark for readers", "给读者的说明"),
    "claims": ("published figures, checked against this spec", "与本规格核对的已发表数字"),
    "provenance": ("what reading the file left aside or assumed", "读取文件时忽略或假定的内容"),
}
_PROVENANCE: Sentences = {
    "": ("what reading a file left aside or assumed", "读取文件时忽略或假定的内容"),
    "ignored": ("keys that the model's class does not know", "模型类不认识的键"),
    "assumed": ("what the file does not state", "文件未说明而假定的内容"),
}
_EMBEDDING: Sentences = {
    "": ("the token table", "词元表"),
    "factor": ("a token table narrower than the model; none: as wide", "比模型更窄的词元表；无：同宽"),
    "n_token_types": ("rows of a table of segments (BERT has 2); 0: none", "句段表的行数（BERT 为 2）；0 表示没有"),
    "tables": ("further tables whose rows join the tokens'", "与词元相加的其他表"),
    "scale": ("multiplies the embeddings; none: 1", "嵌入乘以该数；无：1"),
    "token_dropout": (
        "masked tokens are zeros and the others are rescaled (ESM-2); none: not",
        "被掩盖的词元置零，其余重新缩放（ESM-2）；无：不作处理",
    ),
}
_TABLE: Sentences = {
    "": ("a table whose rows are added to the tokens'", "行与词元相加的一个表"),
    "name": ("what it is called in the tensors' names", "在张量名中的称呼"),
    "n_rows": ("its rows", "行数"),
    "default_row": (
        "the row that every token reads if none are named; none: nothing is added",
        "未指明时每个词元读取的行；无：不相加",
    ),
}
_TOKEN_DROPOUT: Sentences = {
    "": ("masked tokens as zeros, the rest rescaled", "被掩盖的词元置零，其余重新缩放"),
    "mask_id": ("the id of the mask token", "掩码词元的编号"),
    "share": ("share of the tokens that training masked", "训练时被掩盖的词元比例"),
}
_FACTORISED: Sentences = {
    "": ("a narrow table and the projection that widens it", "窄词元表及将其加宽的投影"),
    "d_embed": ("width of the token table", "词元表的宽度"),
    "bias": ("a bias on the projection", "投影是否带偏置"),
    "widen": ("when the projection comes", "何时投影"),
    "widen.before_positions": ("before positions are added (OPT-350m)", "在加入位置之前（OPT-350m）"),
    "widen.after_positions": (
        "after positions and the embedding norm (ALBERT)",
        "在加入位置与嵌入归一化之后（ALBERT）",
    ),
}
_STACK: Sentences = {
    "": ("layers one after another", "依次相接的各层"),
    "n_layers": ("number of layers; none: the sum of the runs", "层数；无：各段之和"),
    "runs": ("runs of layers, one after another", "依次排列的各段层"),
    "position": ("a table of positions added to the embeddings", "加到嵌入上的位置表"),
    "embed_norm": ("a norm on the embeddings, before the first layer", "第一层之前对嵌入的归一化"),
    "embed_norm_reads": ("what that norm reads", "该归一化的输入"),
    "embed_norm_reads.sum": ("the sum of tokens and positions", "词元与位置之和"),
    "embed_norm_reads.tokens": (
        "the tokens, which positions then join (BlenderbotSmall's decoder)",
        "仅词元，位置随后加入（BlenderbotSmall 的解码器）",
    ),
    "final_norm": ("a norm after the last layer", "最后一层之后的归一化"),
    "n_mtp": (
        "modules that predict tokens further ahead (DeepSeek-V3), each with a layer of its own",
        "预测更后面词元的模块数（DeepSeek-V3），每个自带一层",
    ),
    "embedding": (
        "an encoder's own token table, beside a decoder; none: it reads the decoder's",
        "编码器（与解码器并存时）自己的词元表；无：读取解码器的",
    ),
    "vocab_size": ("tokens that it knows; none: the model's", "该栈的词表大小；无：与模型相同"),
    "n_ctx": ("tokens that it was trained for; none: the model's", "该栈训练时的上下文长度；无：与模型相同"),
    "d_model": ("width of its states; none: the model's", "该栈状态的宽度；无：与模型相同"),
}
_RUN: Sentences = {
    "": ("layers that repeat a pattern", "重复同一模式的一段层"),
    "count": (
        "layers of this run; none in one run: it takes what the others leave of n_layers",
        "本段的层数；有一段可为 无：取 n_layers 余下的层",
    ),
    "pattern": ("the layers that this run cycles through", "本段循环使用的各层"),
    "share_weights": ("one set of weights for every turn (ALBERT)", "每次循环共用一套权重（ALBERT）"),
}
_RESIDUAL: Sentences = {
    "scale": (
        "what the branch's output is multiplied by before it is added (Granite)",
        "分支输出在相加前所乘的系数（Granite）",
    ),
    "skip": ("what the stream is multiplied by before the branch is added", "加上分支之前残差流所乘的系数"),
    "skip_reads": ("what the branch is added to", "分支加到何处"),
    "skip_reads.stream": ("the stream, the usual one", "残差流，最常用"),
    "skip_reads.normed": ("the stream after the branch's first norm", "经分支第一个归一化后的残差流"),
}
_LAYER: Sentences = {
    "": ("attention and feed-forward, each with its norm", "注意力与前馈网络，各带归一化"),
    "name": ("what tables call such layers; none: they are numbered", "表格中对此类层的称呼；无：按编号"),
    "norm": ("the normalisation at each of the layer's parts", "层内各部分所用的归一化"),
    "placement": (
        "where the norms stand; f is a part, x the residual stream",
        "归一化的位置；f 为某一部分，x 为残差流",
    ),
    "placement.pre": ("x + f(norm(x)), the usual one", "x + f(norm(x))，最常用"),
    "placement.post": ("norm(x + f(x)), the original transformer's", "norm(x + f(x))，最初的 Transformer 所用"),
    "placement.sandwich": ("x + norm(f(norm(x))), Gemma's", "x + norm(f(norm(x)))，Gemma 所用"),
    "placement.output": ("x + norm(f(x)), OLMo 2's", "x + norm(f(x))，OLMo 2 所用"),
    "placement.parallel": (
        "x + attention(norm(x)) + ffn(norm(x)), one norm",
        "x + attention(norm(x)) + ffn(norm(x))，共用一个归一化",
    ),
    "placement.parallel_two": ("as parallel, a norm for each", "同 parallel，但各有一个归一化"),
    "attention": ("how tokens look at each other; none: no attention", "词元之间如何相互关注；无：没有注意力"),
    "cross": (
        "how a decoder looks at the encoder's states; none: not at all",
        "解码器如何关注编码器的状态；无：不关注",
    ),
    "cross_reads": ("what cross-attention looks at", "交叉注意力关注什么"),
    "cross_reads.source": ("the encoder's states", "编码器的状态"),
    "cross_reads.nothing": (
        "nothing: it is stored, never computed (BartForCausalLM)",
        "无：仅存储，不参与计算（BartForCausalLM）",
    ),
    "ffn": ("the feed-forward network, each token by itself; none: none", "逐词元的前馈网络；无：没有"),
    **_RESIDUAL,
    "branches": (
        "residual branches one by one, in place of the fields above",
        "逐个写出的残差分支，代替以上各字段",
    ),
    "shares": ("what it has of an earlier layer; none: nothing", "取自之前某层的内容；无：没有"),
}
_SHARES: Sentences = {
    "": ("what a layer has of an earlier one", "某层取自之前某层的内容"),
    "weights": (
        "the index of the layer whose weights it uses (Zamba); none: its own",
        "所用权重来自哪一层的序号（Zamba）；无：用自己的",
    ),
    "keys_values": (
        "the index of the layer whose keys and values it reads (Gemma 3n); none: its own",
        "所读的键和值来自哪一层的序号（Gemma 3n）；无：用自己的",
    ),
}
_BRANCH: Sentences = {
    "": (
        "a residual branch: one or more parts, their sum added to the stream",
        "残差分支：一个或多个部分，其和加到残差流上",
    ),
    "arms": ("the parts, side by side", "并列的各部分"),
    "norm_in": ("the norm before all parts; none: none", "各部分之前的归一化；无：没有"),
    "norm_out": (
        "the norm of the parts' sum, before it is added; none: none",
        "相加之前，对各部分之和的归一化；无：没有",
    ),
    "norm_after": ("the norm of the stream, once the sum is added; none: none", "相加之后，对残差流的归一化；无：没有"),
    **_RESIDUAL,
}
_ARM: Sentences = {
    "": ("one part of a residual branch", "残差分支的一个部分"),
    "name": ("what its tensors are named after", "其张量名称的前缀"),
    "part": ("an attention or a feed-forward network", "注意力或前馈网络"),
    "norm": ("a norm of its own before it; none: none", "该部分之前自己的归一化；无：没有"),
    "reads": ("what keys and values are computed from", "键和值由何计算"),
    "reads.stream": ("the layer's own stream", "本层自己的残差流"),
    "reads.source": ("the encoder's states", "编码器的状态"),
    "reads.shared": ("nothing: those of an earlier layer are read", "不计算：读取之前某层的键和值"),
    "reads.nothing": ("nothing: stored, never computed", "无：仅存储，不参与计算"),
}
_LAYER_NORM: Sentences = {
    "": ("centred and divided by the standard deviation", "减去均值再除以标准差"),
    "weight": ("a learned factor for each number", "每个数有一个可学习的系数"),
    "bias": ("a learned number added to each", "每个数加上一个可学习的数"),
    "unit_offset": (
        "the factor is 1 + weight (Nemotron); the count is the same",
        "系数为 1 + 权重（Nemotron）；参数量不变",
    ),
    "eps": _EPS,
}
_RMS_NORM: Sentences = {
    "": ("divided by the root of the mean square, not centred", "除以均方根，不减均值"),
    "weight": ("a learned factor for each number", "每个数有一个可学习的系数"),
    "unit_offset": ("the factor is 1 + weight (Gemma); the count is the same", "系数为 1 + 权重（Gemma）；参数量不变"),
    "eps": _EPS,
}
_ATTENTION: Sentences = {
    "": (
        "grouped-query attention: query heads share key and value heads, from each its own (MHA) to one for all (MQA)",
        "分组查询注意力：多个查询头共享键值头，从各自一个（MHA）到全部共享一个（MQA）",
    ),
    "n_heads": ("number of query heads", "查询头的个数"),
    "n_kv_heads": (
        "heads of keys and values, a divisor of n_heads; none: n_heads",
        "键与值的头数，须整除 n_heads；无：等于 n_heads",
    ),
    "d_head": ("width of a head; none: d_model / n_heads", "每个头的宽度；无：d_model / n_heads"),
    "d_value": ("width of a head's values; none: d_head", "每个头的值的宽度；无：等于 d_head"),
    "q_bias": ("a bias on the queries' projection", "查询投影是否带偏置"),
    "k_bias": ("a bias on the keys' projection", "键投影是否带偏置"),
    "v_bias": ("a bias on the values' projection", "值投影是否带偏置"),
    "out_bias": ("a bias on the output's projection", "输出投影是否带偏置"),
    "qk_norm": ("a norm on queries and keys before they meet", "查询与键相乘之前的归一化"),
    "position": ("how attention learns the order of tokens; none: not here", "注意力如何得知词元顺序；无：不在此处"),
    "window": (
        "how many of the last tokens are seen, itself included; none: all",
        "只看最近多少个词元（含自身）；无：全部",
    ),
    "sinks": (
        "a learned score for each head that takes attention away from all tokens",
        "每个头有一个可学习的得分，从所有词元处分走注意力",
    ),
    "softcap": ("scores are held within ± this by a tanh; none: not", "用 tanh 将得分限制在 ± 该值之内；无：不限制"),
    "scale": ("multiplies the scores; none: 1/√d_head", "得分乘以该数；无：1/√d_head"),
    "value_scale": ("multiplies the values; none: 1", "值乘以该数；无：1"),
    "clip": ("queries, keys and values are held within ± this; none: not", "查询、键与值限制在 ± 该值之内；无：不限制"),
    "temperature": (
        "queries are multiplied by a function of their position; none: not",
        "查询乘以随位置变化的函数；无：不乘",
    ),
    "gate": (
        "what the heads give is multiplied by a gate made of the layer's input; none: not",
        "各头的输出乘以由该层输入得到的门；无：不乘",
    ),
    "out_norm": ("a norm between the heads and the out projection", "各头与输出投影之间的归一化"),
    "d_source": (
        "width of a source that differs from the layer's; none: the same",
        "源的宽度（若与本层不同）；无：相同",
    ),
}
_GATE: Sentences = {
    "": ("a gate on what the heads give", "作用于各头输出的门"),
    "over": ("what has a gate of its own", "每个门作用的范围"),
    "over.head": ("each head", "每个头"),
    "over.channel": ("each number of each head", "每个头的每个数"),
    "activation": ("what is done to the projection", "对投影所作的函数"),
    "activation.sigmoid": ("between 0 and 1", "介于 0 与 1 之间"),
    "activation.softplus": ("ln(1 + eˣ), above 0", "ln(1 + eˣ)，大于 0"),
    "bias": ("a learned number for each head, added first", "每个头一个可学习的数，先加上"),
}
_FROM_ONE = ("positions count from 1, not from 0", "位置从 1 起数，而非从 0")
_LOG_TEMPERATURE: Sentences = {
    "": ("1 + factor·ln(1 + ⌊position / n_tokens⌋)", "1 + factor·ln(1 + ⌊位置 / n_tokens⌋)"),
    "factor": ("multiplies the logarithm", "对数乘以该数"),
    "n_tokens": ("tokens until it next grows", "每隔多少词元增大一次"),
    "from_one": _FROM_ONE,
}
_POWER_TEMPERATURE: Sentences = {
    "": ("(1 + position / n_tokens)^exponent", "(1 + 位置 / n_tokens)^exponent"),
    "exponent": ("the power", "指数"),
    "n_tokens": ("tokens at whose place the base is 2", "底数为 2 时的词元位置"),
    "from_one": _FROM_ONE,
}
_QK_NORM: Sentences = {
    "": ("a norm on queries and keys", "对查询与键的归一化"),
    "norm": ("its kind", "归一化的种类"),
    "over": ("what is normed together", "一起归一化的范围"),
    "over.head": ("each head by itself (Qwen3)", "每个头各自归一化（Qwen3）"),
    "over.each": ("each head by itself, with a weight of its own (Cohere)", "每个头各自归一化，各有权重（Cohere）"),
    "over.full": ("all heads at once (OLMo 2)", "所有头一起归一化（OLMo 2）"),
    "when": ("before or after positions turn them", "在位置旋转之前或之后"),
    "when.before": ("before, the usual way", "之前，最常用"),
    "when.after": ("after (HunYuan)", "之后（HunYuan）"),
}
_LATENT: Sentences = {
    "": (
        "multi-head latent attention: keys and values pass through a narrow latent, which is all that the cache keeps",
        "多头潜在注意力：键与值经过一个窄的潜在向量，缓存只保留它",
    ),
    "n_heads": ("number of heads", "头数"),
    "kv_rank": ("width of the latent of keys and values", "键值潜在向量的宽度"),
    "d_nope": ("width of a head's query and key without position", "每个头的查询与键中不带位置的宽度"),
    "d_rope": (
        "width of a head's query and key with position, an even number",
        "每个头的查询与键中带位置的宽度，为偶数",
    ),
    "d_v": ("width of a head's value", "每个头的值的宽度"),
    "q_rank": ("width of the latent of queries; none: no latent", "查询潜在向量的宽度；无：没有"),
    "norm": ("the norm on the latents", "潜在向量的归一化"),
    "down_bias": ("a bias on the projections into the latents", "投影到潜在向量时是否带偏置"),
    "out_bias": ("a bias on the output's projection", "输出投影是否带偏置"),
    "position": ("how queries and keys are turned by position", "查询与键如何按位置旋转"),
    "scale": (
        "multiplies the scores; none: 1/√(d_nope + d_rope), and what the scaling asks for",
        "得分乘以该数；无：1/√(d_nope + d_rope)，并按位置缩放的要求调整",
    ),
}
_ROPE: Sentences = {
    "": ("queries and keys are turned by their position", "按位置旋转查询与键"),
    "theta": ("base of the wavelengths, above 1; larger turns slower", "波长的底数，大于 1；越大旋转越慢"),
    "d_rotary": (
        "how much of a head's width is turned, an even number; none: all",
        "每个头被旋转的宽度，为偶数；无：全部",
    ),
    "interleaved": (
        "neighbours are turned in pairs; else the first half with the second",
        "相邻两维成对旋转；否则前半与后半成对",
    ),
    "scaling": (
        "how the turning is stretched for a longer context; none: not",
        "为更长的上下文如何放缓旋转；无：不放缓",
    ),
    "stored": (
        "angles are read from a table stored with the weights (RoFormer); else computed",
        "角度取自与权重一同存储的表（RoFormer）；否则现算",
    ),
    "values": ("values are turned too", "值也旋转"),
}
_LONGROPE: Sentences = {
    "": ("each pair of dimensions slowed by a factor of its own (LongRoPE)", "每对维度各按自己的系数放缓（LongRoPE）"),
    "factor": _FACTOR,
    "short": ("a factor for each pair, within the original context", "原上下文之内每对维度的系数"),
    "long": ("a factor for each pair, beyond it", "超出原上下文时每对维度的系数"),
    "n_ctx_original": _ORIGINAL,
    "attention_factor": (
        "multiplies cos and sin; none: √(1 + ln factor / ln n_ctx_original)",
        "cos 与 sin 乘以该数；无：√(1 + ln factor / ln n_ctx_original)",
    ),
    "long_attention_factor": ("its value beyond the original context; none: the same", "超出原上下文时的值；无：相同"),
}
_DYNAMIC: Sentences = {
    "": ("theta grows with the length beyond the original context (NTK)", "超出原上下文后 theta 随长度增大（NTK）"),
    "factor": _FACTOR,
    "n_ctx_original": _ORIGINAL,
}
_LINEAR: Sentences = {"": ("positions divided by the factor", "位置除以倍数"), "factor": _FACTOR}
_LLAMA3: Sentences = {
    "": ("long wavelengths divided, short ones kept (Llama 3.1)", "长波长被拉长，短波长保持（Llama 3.1）"),
    "factor": _FACTOR,
    "low_freq_factor": (
        "wavelengths above n_ctx_original / this are stretched in full",
        "波长大于 n_ctx_original / 该值时完全拉长",
    ),
    "high_freq_factor": (
        "wavelengths below n_ctx_original / this are kept",
        "波长小于 n_ctx_original / 该值时保持不变",
    ),
    "n_ctx_original": _ORIGINAL,
}
_YARN: Sentences = {
    "": ("slow turns stretched, fast ones kept, a ramp between (YaRN)", "慢旋转被拉长，快旋转保持，其间渐变（YaRN）"),
    "factor": _FACTOR,
    "n_ctx_original": _ORIGINAL,
    "beta_fast": (
        "dimensions that turn more often than this over the original context are kept",
        "在原上下文内转动次数多于该值的维度保持不变",
    ),
    "beta_slow": ("dimensions that turn less often than this are stretched in full", "转动次数少于该值的维度完全拉长"),
    "attention_factor": (
        "multiplies cos and sin; none: 0.1·ln(factor) + 1",
        "cos 与 sin 乘以该数；无：0.1·ln(factor) + 1",
    ),
    "mscale": (
        "DeepSeek's way to state attention_factor, for the turned part",
        "DeepSeek 对 attention_factor 的写法，作用于旋转部分",
    ),
    "mscale_all_dim": ("the same, for the scores of all dimensions", "同上，作用于全部维度的得分"),
    "truncate": ("the ramp's ends are rounded to whole dimensions", "渐变的两端取整到维度"),
}
_ALIBI: Sentences = {
    "": ("a penalty on scores that grows with distance, without weights", "得分随距离递减的惩罚，没有权重"),
    "scaled": (
        "the penalty is scaled as the scores are (Falcon); else it is not (BLOOM)",
        "惩罚与得分一同缩放（Falcon）；否则不缩放（BLOOM）",
    ),
    "max_bias": ("slopes end at 2^−this (8 in the paper)", "斜率止于 2 的负该次方（论文为 8）"),
}
_RELATIVE: Sentences = {
    "": ("a learned bias for each bucket of distance and each head (T5)", "每个距离桶、每个头有一个可学习的偏置（T5）"),
    "n_buckets": ("buckets of distance: rows of the table", "距离桶的个数，即表的行数"),
    "max_distance": ("tokens of distance from which all share the last bucket", "超过该词元距离后共用最后一个桶"),
    "shared": ("which layers share a table", "哪些层共用一张表"),
    "shared.stack": ("all of the stack (T5)", "整个栈（T5）"),
    "shared.layer": ("none: each has its own (UMT5)", "都不共用：每层一张（UMT5）"),
}
_LEARNED: Sentences = {
    "": ("a trained vector for each position", "每个位置一个训练得到的向量"),
    "n_extra": ("rows beyond n_ctx (OPT and RoBERTa keep 2)", "n_ctx 之外多出的行数（OPT 与 RoBERTa 为 2）"),
}
_SINUSOIDAL: Sentences = {
    "": ("sines and cosines of the position", "位置的正弦与余弦"),
    "stored": ("the table is stored with the weights (Marian); else computed", "表与权重一同存储（Marian）；否则现算"),
    "order": ("how sines and cosines are laid out", "正弦与余弦的排列"),
    "order.alternating": ("in turn, as in the paper", "交替排列，如论文"),
    "order.halves": ("all sines, then all cosines (CTRL, Marian)", "先全部正弦，后全部余弦（CTRL、Marian）"),
    "order.fairseq": ("halves, of fairseq's wavelengths (M2M-100)", "前后两半，用 fairseq 的波长（M2M-100）"),
    "n_extra": ("rows before the first position's (M2M-100 has 2)", "首个位置之前的行数（M2M-100 为 2）"),
}
_PLAIN: Sentences = {
    "": ("two matrices with an activation between", "两个矩阵，中间是激活函数"),
    "d_ff": ("hidden units: the width between the two matrices", "隐藏单元数：两个矩阵之间的宽度"),
    "activation": _ACTIVATION,
    "activation.xielu": _XIELU,
    "bias": ("a bias on each matrix", "每个矩阵是否带偏置"),
    "down_bias": _DOWN_BIAS,
    "down_norm": _DOWN_NORM,
}
_GATED: Sentences = {
    "": (
        "three matrices: one gates what another makes (SwiGLU, GeGLU)",
        "三个矩阵：其一门控另一个的输出（SwiGLU、GeGLU）",
    ),
    "d_ff": ("hidden units: the width between the matrices", "隐藏单元数：矩阵之间的宽度"),
    "activation": ("the function on the gate", "门上的激活函数"),
    "activation.xielu": _XIELU,
    "bias": ("a bias on each matrix", "每个矩阵是否带偏置"),
    "down_bias": _DOWN_BIAS,
    "down_norm": _DOWN_NORM,
}
_CLAMPED_SWISH: Sentences = {
    "": ("y·σ(αy) of a clamped y; what it gates is clamped too", "对限幅后的 y 取 y·σ(αy)；被门控的数也限幅"),
    "limit": (
        "y is x, but this at most; what is gated stays within ± this",
        "y 为 x，但不超过该值；被门控的数限制在 ± 该值之内",
    ),
    "alpha": ("how steep the sigmoid is; 1: as in silu", "sigmoid 的陡度；1 即 silu"),
    "up_offset": ("added to what is gated (1 in gpt-oss)", "加在被门控的数上（gpt-oss 为 1）"),
}
_MOE: Sentences = {
    "": (
        "a mixture of experts: a router sends each token to a few of many",
        "混合专家：路由器把每个词元送往众多专家中的几个",
    ),
    "n_experts": ("routed experts, all of them stored", "路由专家总数，全部存储"),
    "n_active": ("experts that each token takes", "每个词元使用的专家数"),
    "d_expert": ("hidden units of an expert", "每个专家的隐藏单元数"),
    "activation": ("the function in each expert", "每个专家内的激活函数"),
    "gated": ("experts have three matrices, one of them a gate; else two", "每个专家有三个矩阵，其一为门；否则两个"),
    "expert_bias": ("a bias on the experts' matrices", "专家的矩阵是否带偏置"),
    "router_bias": ("a bias on the router", "路由器是否带偏置"),
    "router_softcap": (
        "the router's logits are held within ± this by a tanh; none: not",
        "用 tanh 将路由器的 logits 限制在 ± 该值之内；无：不限制",
    ),
    "choose": ("the score that experts are chosen by", "选择专家所依据的分数"),
    "choose.softmax": ("a softmax of the logits", "logits 的 softmax"),
    "choose.sigmoid": ("a sigmoid of each logit", "每个 logit 的 sigmoid"),
    "choose.logits": ("the logits themselves", "logits 本身"),
    "correction": (
        "a number for each expert, added to the scores for the choice alone",
        "每个专家一个数，只在选择时加到分数上",
    ),
    "correction.none": ("no correction", "没有修正"),
    "correction.buffer": ("a buffer, not counted (DeepSeek-V3)", "缓冲区，不计入参数（DeepSeek-V3）"),
    "correction.parameter": ("a frozen parameter, counted (ERNIE 4.5)", "冻结的参数，计入参数（ERNIE 4.5）"),
    "weigh": ("how the chosen experts are weighed", "选中的专家如何加权"),
    "weigh.score": ("by their scores", "用其分数"),
    "weigh.softmax": ("a softmax of the chosen logits", "对选中的 logits 作 softmax"),
    "weigh.sigmoid": ("a sigmoid of each chosen logit", "对每个选中的 logit 作 sigmoid"),
    "weigh.sparsemixer": (
        "for each choice in turn, a softmax over the logits near it (Phi-3.5-MoE)",
        "逐个选择，对与其相近的 logits 作 softmax（Phi-3.5-MoE）",
    ),
    "jitter": (
        "sparsemixer: half the relative distance at which a logit counts as near; none: 0.01",
        "sparsemixer：logit 视为相近的相对距离之半；无：0.01",
    ),
    "normalise": ("the chosen experts' weights are made to sum to 1", "使选中专家的权重之和为 1"),
    "normalise_min": (
        "the least that the weights are divided by (ERNIE 4.5); none: their sum",
        "权重所除之数的下限（ERNIE 4.5）；无：即其和",
    ),
    "scale": ("multiplies the experts' weights", "专家权重乘以该数"),
    "n_groups": (
        "groups of experts, a divisor of n_experts; 1: no groups",
        "专家的组数，须整除 n_experts；1 表示不分组",
    ),
    "n_active_groups": ("groups that a token's experts may come from", "一个词元的专家可来自的组数"),
    "group_score": (
        "what a group is chosen by; none: best, with a correction two_best",
        "选择组所依据的分数；无：best，有修正时为 two_best",
    ),
    "group_score.best": ("its best expert's score (DeepSeek-V2)", "组内最高分（DeepSeek-V2）"),
    "group_score.two_best": ("the sum of its two best (DeepSeek-V3)", "组内两个最高分之和（DeepSeek-V3）"),
    "weight_on": ("what the weights multiply", "权重所乘之处"),
    "weight_on.output": ("what an expert makes, the usual one", "专家的输出，最常用"),
    "weight_on.input": ("what an expert reads (Llama 4)", "专家的输入（Llama 4）"),
    "n_shared": ("experts that every token takes; 0: none", "每个词元都使用的共享专家数；0 表示没有"),
    "d_shared": ("hidden units of a shared expert; none: d_expert", "每个共享专家的隐藏单元数；无：等于 d_expert"),
    "shared_activation": (
        "the function in the shared experts; none: as activation",
        "共享专家内的激活函数；无：同 activation",
    ),
    **{f"shared_activation.{name}": both for name, both in _ACTIVATIONS.items()},
    "shared_bias": (
        "a bias on the shared experts' matrices; none: as expert_bias",
        "共享专家的矩阵是否带偏置；无：同 expert_bias",
    ),
    "shared_combine": ("how shared and routed experts are put together", "共享专家与路由专家如何合并"),
    "shared_combine.sum": ("their sum, the usual one", "求和，最常用"),
    "shared_combine.average": ("half their sum (Command A)", "求平均（Command A）"),
    "shared_gate": ("a sigmoid gate on what the shared experts make", "共享专家的输出带 sigmoid 门"),
}
_HEAD: Sentences = {
    "": ("from the last state to a score for each token", "从最后的状态到每个词元的得分"),
    "tied": ("the token table serves as the head's matrix, stored once", "词元表兼作输出头的矩阵，只存储一次"),
    "bias": ("a bias for each token of the vocabulary", "词表中每个词元一个偏置"),
    "d_in": (
        "width that an untied matrix reads, after the transform or a projection; none: d_model",
        "未共享的矩阵所读的宽度，之前经变换或投影；无：d_model",
    ),
    "bias_buffer": (
        "a stored number for each token joins the logits, counted as no parameter (BART, Marian)",
        "每个词元一个存储的数加到 logits 上，不计入参数（BART、Marian）",
    ),
    "labels": ("what is scored in place of the vocabulary; none: the vocabulary", "代替词表被打分的标签；无：词表"),
    "transform": (
        "a dense layer, activation and norm before the logits (BERT)",
        "logits 之前的全连接层、激活与归一化（BERT）",
    ),
    "softcap": (
        "logits are held within ± this by a tanh; none: not",
        "用 tanh 将 logits 限制在 ± 该值之内；无：不限制",
    ),
    "scale": ("multiplies the state before the head; none: 1", "输出头之前状态乘以该数；无：1"),
}
_TRANSFORM: Sentences = {
    "": ("what a masked-LM head does before its logits", "掩码语言模型输出头在 logits 之前的变换"),
    "activation": ("the function after the dense layer", "全连接层之后的激活函数"),
    "norm": ("the norm after the activation; none: none", "激活之后的归一化；无：没有"),
    "bias": ("a bias on the dense layer", "全连接层是否带偏置"),
    "d_hidden": (
        "width between two dense layers, each followed by the activation (UltraBERT); none: one layer",
        "两个全连接层之间的宽度，每层之后都有激活（UltraBERT）；无：一层",
    ),
}
_LABELS: Sentences = {
    "": ("classes that are scored, of each token or of the whole text", "对每个词元或整个文本打分的类别"),
    "n_labels": ("number of labels", "标签数"),
    "reads": ("which states are scored", "对哪些状态打分"),
    "reads.every": ("every token's", "每个词元的"),
    "reads.first": ("the first token's (RoBERTa)", "第一个词元的（RoBERTa）"),
    "reads.last": ("the last token's (LLaMA, BART)", "最后一个词元的（LLaMA、BART）"),
    "reads.mean": ("the mean of all", "全部的平均"),
    "reads.pooled": ("the pooler's (BERT)", "池化层的（BERT）"),
    "picks": ("when the one state is chosen", "何时选出该状态"),
    "picks.before": ("before the matrix", "在矩阵之前"),
    "picks.after": ("after it: every token is scored (LLaMA)", "在矩阵之后：每个词元都被打分（LLaMA）"),
}
_POOLER: Sentences = {
    "": ("a dense layer and an activation on one state", "对一个状态的全连接与激活"),
    "activation": ("the function after the dense layer", "全连接层之后的激活函数"),
}
_EXTRA: Sentences = {
    "": ("a tensor that no logits use", "logits 不使用的一个张量"),
    "name": ("its name, with dots between its parts", "名字，各段以点分隔"),
    "axes": ("its sizes: numbers, or names of the model's sizes", "各维大小：数字，或模型尺寸的名字"),
    "component": ("what it is counted under", "计入哪一部分"),
    "component.embedding": ("the embedding", "嵌入"),
    "component.head": ("the head", "输出头"),
    "component.other": ("other", "其他"),
    "storage": ("whether it is trained", "是否训练"),
    "storage.trainable": ("trained", "训练"),
    "storage.frozen": ("counted, not trained", "计数但不训练"),
    "storage.buffer": ("stored, not counted", "存储但不计数"),
}
_DROPOUT: Sentences = {
    "": ("what training drops at random; it changes no weight", "训练时的随机丢弃；不影响权重"),
    "embedding": (_PROBABILITY.format("of the embeddings"), "训练时丢弃嵌入数值的概率，从 0 到小于 1"),
    "attention": (_PROBABILITY.format("of attention's pattern"), "训练时丢弃注意力权重的概率，从 0 到小于 1"),
    "residual": (
        _PROBABILITY.format("of what a part adds to the residual stream"),
        "训练时丢弃各部分加入残差流的数值的概率，从 0 到小于 1",
    ),
    "ffn": (_PROBABILITY.format("of the hidden units"), "训练时丢弃隐藏单元的概率，从 0 到小于 1"),
}
_CLAIM: Sentences = {
    "": ("a published figure about the model", "关于该模型的一个已发表数字"),
    "id": ("its name here", "它在此处的名字"),
    "quantity": (
        "what is counted (total, active, share:attention …)",
        "计数的对象（total、active、share:attention …）",
    ),
    "value": ("the figure as printed, with its unit", "所印的数字，带单位"),
    "where": ("where it stands: table, section, page", "出处：表、节、页"),
    "verdict": ("what checking it found", "核对的结果"),
    "verdict.holds": ("it is right to its last digit", "精确到末位都正确"),
    "verdict.truncates": ("right but cut off, not rounded", "正确，但被截断而非四舍五入"),
    "verdict.differs": ("it differs", "与计算不符"),
    "accounting": ("the way of counting under which the verdict was found", "得出结论时的计数方式"),
    "note": ("what explains a difference", "对差异的说明"),
}

_PARTS: dict[str, Sentences] = {
    "Spec": _SPEC,
    "About": _ABOUT,
    "Provenance": _PROVENANCE,
    "Embedding": _EMBEDDING,
    "Factor": _FACTORISED,
    "Table": _TABLE,
    "TokenDropout": _TOKEN_DROPOUT,
    "Stack": _STACK,
    "Run": _RUN,
    "Shares": _SHARES,
    "Layer": _LAYER,
    "Branch": _BRANCH,
    "Arm": _ARM,
    "LayerNorm": _LAYER_NORM,
    "RMSNorm": _RMS_NORM,
    "Attention": _ATTENTION,
    "QkNorm": _QK_NORM,
    "Gate": _GATE,
    "LogTemperature": _LOG_TEMPERATURE,
    "PowerTemperature": _POWER_TEMPERATURE,
    "LatentAttention": _LATENT,
    "Rope": _ROPE,
    "LinearScaling": _LINEAR,
    "Llama3Scaling": _LLAMA3,
    "YarnScaling": _YARN,
    "LongRopeScaling": _LONGROPE,
    "DynamicScaling": _DYNAMIC,
    "Alibi": _ALIBI,
    "RelativeBias": _RELATIVE,
    "Learned": _LEARNED,
    "Sinusoidal": _SINUSOIDAL,
    "Plain": _PLAIN,
    "Gated": _GATED,
    "MoE": _MOE,
    "ClampedSwish": _CLAMPED_SWISH,
    "Head": _HEAD,
    "Transform": _TRANSFORM,
    "Labels": _LABELS,
    "Pooler": _POOLER,
    "Extra": _EXTRA,
    "Dropout": _DROPOUT,
    "Claim": _CLAIM,
}
_ACTIVATED = ("Plain", "Gated", "MoE", "Transform", "Pooler")

WORDS: Sentences = {
    **{f"{part}.{name}".rstrip("."): both for part, own in _PARTS.items() for name, both in own.items()},
    **{f"{part}.activation.{name}": both for part in _ACTIVATED for name, both in _ACTIVATIONS.items()},
}
