"""The processors' fast path: strips that keep their rows, OpenVINO, int8."""
