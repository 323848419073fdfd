"""Run one model on several processes with torch's engines: tensor parallelism (DTensor) and FSDP2, under torchrun."""
