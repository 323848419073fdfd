"""One model on several processes, by torch's own engines: tensor parallelism (DTensor) and FSDP2, under torchrun."""
